"""Which tools are not what a consent was given for. Pure."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from access.unlocks import Unlocked
from tenants.pins import Pin, gains


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """A tool that is not as it was agreed to. then: its hash when it was; empty for one that is new. gained: what it
    can do now and could not; empty where its words alone are others."""

    tool: Unlocked
    then: str
    gained: str


def since(agreed: Mapping[str, Pin], tools: Iterable[Unlocked]) -> list[Changed]:
    """Of the tools that a consent covers, those that changed, and those that are new and can do lasting harm."""
    found = []
    for tool in tools:
        pin = agreed.get(tool.tool)
        gained = ", ".join(gains(pin, tool.pin))
        if gained or (pin is not None and pin.hash != tool.hash):
            found.append(Changed(tool=tool, then=pin.hash if pin else "", gained=gained))
    return found


def digest(found: Sequence[Changed]) -> str:
    """Of what somebody reads who agrees to it."""
    read = [[one.tool.tool, one.then, one.tool.hash, one.gained] for one in found]
    return hashlib.sha256(orjson.dumps(read)).hexdigest()


def told(found: Sequence[Changed]) -> str:
    """In a line, for the ledger."""
    return "; ".join(f"{one.tool.tool}: {one.gained or 'other words'}" for one in found)
