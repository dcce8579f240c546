"""Whether a tool is still what somebody agreed to."""

from functools import lru_cache

from django.conf import settings

from tenants.caller import Caller
from tenants.pins import NEW, Pin, gains, sort_of
from tools.catalog import LiveTool
from tools.manifest import origin_of


def gained(caller: Caller, tool: LiveTool) -> str:
    """What the tool can do now and could not when the caller's consent was given, as a sentence; empty for nothing.

    Only what a program does by a person's consent is held against it: a key is an admin's to give, and the hub's own
    tools and drafts are nobody's to agree to.
    """
    if caller.pins is None or not tool.version_id:
        return ""
    before = caller.pins.get(tool.name)
    destination = _origin(tool.connection.base_url) if tool.connection is not None else ""
    if before is not None and before.hash == tool.subject.pin and before.destination == destination:
        return ""
    found = gains(before, _pin(tool, destination))
    return _sentence(tool.name, found) if found else ""


def _pin(tool: LiveTool, destination: str) -> Pin:
    traits = tool.subject.traits
    return Pin(
        hash=tool.subject.pin,
        sort=sort_of(read_only="read_only" in traits, destructive="destructive" in traits),
        open_world="open_world" in traits,
        destination=destination,
        scopes=tool.subject.scopes,
    )


def _sentence(name: str, found: list[str]) -> str:
    told = "is new and can delete or overwrite" if found == [NEW] else ", ".join(found)
    door = f"{settings.BASE_URL}/account/apps/"
    return f"{name} can do more than was agreed to: it {told}. Agree to that for good at {door}"


_origin = lru_cache(maxsize=1000)(origin_of)
