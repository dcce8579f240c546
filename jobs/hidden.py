"""What people are not shown of a call's arguments, by who reads.

Whose call it is sees all but what the tool's schema marks as secret (`LiveTool.hidden`): they say yes to what they see,
and a page token that is not shown could be any. Anybody else, such as who approves it, is not shown either what the
schema describes under the name of a secret. What a model calls a secret by itself is shown to both, as it could hide
anything so.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from lib import redact
from tools.catalog import secret_names

HIDDEN = "(hidden)"
"""Stands for a value that is not shown."""


def from_others(schema: Any) -> frozenset[str]:
    """The names of arguments whose values only the caller's own person may see."""
    return secret_names(schema) | {name for name in _described(schema) if redact.named(name)[1]}


def without(value: Any, names: frozenset[str]) -> Any:
    """The same without what is under these names, at any depth. Nothing is no secret: null stays."""
    if isinstance(value, Mapping):
        return {
            name: HIDDEN if name in names and one is not None else without(one, names) for name, one in value.items()
        }
    return [without(one, names) for one in value] if isinstance(value, list | tuple) else value


def _described(schema: Any) -> Iterator[str]:
    """The names of all properties, at any depth."""
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            properties = node.get("properties")
            yield from properties if isinstance(properties, dict) else ()
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
