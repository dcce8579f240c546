"""A tool as somebody agreed to it, and what it can do by now that it could not then. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

Sort = Literal["reads", "writes", "destructive"]

_ORDER: Final[tuple[Sort, ...]] = ("reads", "writes", "destructive")
_COULD: Final[Mapping[Sort, str]] = {"reads": "could only read", "writes": "could change things"}
_CAN: Final[Mapping[Sort, str]] = {"writes": "can now change things", "destructive": "can now delete or overwrite"}
NEW: Final = "new"
"""What is gained by a tool that was not there."""


def sort_of(*, read_only: bool, destructive: bool) -> Sort:
    """The worst that a tool says it does."""
    if read_only:
        return "reads"
    return "destructive" if destructive else "writes"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
    """hash: of the tool's manifest, scopes and destination. destination: the origin that its calls go to, "" for none.
    The rest is what a person agrees to when they let a program use it."""

    hash: str
    sort: Sort
    open_world: bool
    destination: str
    scopes: frozenset[str]

    def written(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "hash": self.hash,
            "sort": self.sort,
            "open_world": self.open_world,
            "destination": self.destination,
            "scopes": sorted(self.scopes),
        }


def read(written: Mapping[str, Any]) -> dict[str, Pin]:
    """Pins by the names of tools, from what `Pin.written` gave for each."""
    return {
        name: _pin(one["hash"], one["sort"], one["open_world"], one["destination"], frozenset(one["scopes"]))
        for name, one in written.items()
    }


@lru_cache(maxsize=20_000)  # most consents of a tenant hold the same ones
def _pin(digest: str, sort: Sort, open_world: bool, destination: str, scopes: frozenset[str]) -> Pin:
    return Pin(hash=digest, sort=sort, open_world=open_world, destination=destination, scopes=scopes)


def gains(before: Pin | None, now: Pin) -> list[str]:
    """What a tool can do now and could not, as predicates; none when it is harmless or no stronger.

    before: None for a tool that was not there, which is covered unless it can do lasting harm (decision 0015).
    """
    if before is None:
        return [NEW] if now.sort == "destructive" else []
    found = []
    if _ORDER.index(now.sort) > _ORDER.index(before.sort):
        found.append(f"{_COULD[before.sort]} and {_CAN[now.sort]}")
    if now.destination not in ("", before.destination):
        found.append(f"now sends to {now.destination.removeprefix('https://')}")
    if now.open_world and not before.open_world:
        found.append("now reaches beyond the company")
    return found
