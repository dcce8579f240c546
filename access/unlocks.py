"""What a scope lets a client do, for the page that asks a person. The floor above knows tools, and tells it here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tenants.caller import Caller
from tenants.pins import Pin, Sort


@dataclass(frozen=True, kw_only=True, slots=True)
class Unlocked:
    """A live tool: it can be called by whoever holds all of its scopes. hash, open_world, destination: as of a Pin.
    asks: what a person is told of a yes that calls wait for; empty where they wait for none."""

    tool: str
    title: str
    sort: Sort
    scopes: frozenset[str]
    hash: str = ""
    open_world: bool = False
    destination: str = ""
    asks: str = ""

    @property
    def pin(self) -> Pin:
        """What somebody agrees to who lets a program use it."""
        return Pin(
            hash=self.hash,
            sort=self.sort,
            open_world=self.open_world,
            destination=self.destination,
            scopes=self.scopes,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One part of a tool that differs. lines: (`+`, `-` or ` `, text)."""

    label: str
    lines: Sequence[tuple[str, str]]


ToolsOf = Callable[[Caller], Sequence[Unlocked]]
"""The live tools of one tenant for one of its callers, by what was read of it once."""
Provider = Callable[[int], ToolsOf]
Differ = Callable[[int, str, str], Sequence[Difference]]

_providers: list[Provider] = []
_differs: list[Differ] = []


def register(provider: Provider, differ: Differ) -> None:
    """Ask these too, inside the tenant's scope. What they take, see `of` and `since`."""
    _providers.append(provider)
    _differs.append(differ)


def of(tenant_id: int) -> ToolsOf:
    """Every live tool of the tenant that is no secret to a caller, with the scopes it needs, by name. Runs inside that
    tenant's scope."""
    found = [provider(tenant_id) for provider in _providers]
    return lambda caller: sorted(
        (unlocked for tools_of in found for unlocked in tools_of(caller)), key=lambda unlocked: unlocked.tool
    )


def since(tenant_id: int, tool: str, digest: str) -> list[Difference]:
    """What people and models read of a live tool that was different when its hash was this one. Inside the scope."""
    return [difference for differ in _differs for difference in differ(tenant_id, tool, digest)]
