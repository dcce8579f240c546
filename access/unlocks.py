"""What a scope lets a client do, for the page that asks a person. The floor above knows tools, and tells it here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Sort = Literal["reads", "writes", "destructive"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unlocked:
    """A live tool: it can be called by whoever holds all of its scopes."""

    tool: str
    title: str
    sort: Sort
    scopes: frozenset[str]


Provider = Callable[[int], Sequence[Unlocked]]

_providers: list[Provider] = []


def register(provider: Provider) -> None:
    """Ask this one too. A provider takes a tenant's id, inside that tenant's scope."""
    _providers.append(provider)


def of(tenant_id: int) -> list[Unlocked]:
    """Every live tool of a tenant with the scopes it needs, by name. Runs inside that tenant's scope."""
    found = [unlocked for provider in _providers for unlocked in provider(tenant_id)]
    return sorted(found, key=lambda unlocked: unlocked.tool)
