"""Values, paths and names in words: short, printable, and JSON rather than Python."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lib.schema.walk import Key

MAX_FOUND = 80
_PLAIN_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")
_TYPES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}


def value(found: Any, *, most: int = MAX_FOUND) -> str:
    """At most `most` characters. Containers are counted, not shown: what they hold may be secret."""
    match found:
        case None | bool():
            return json.dumps(found)
        case str():
            return text(found, most=most)
        case int():
            # Writing out a huge integer is slow, and refused by Python beyond some thousand digits.
            return str(found) if found.bit_length() < 200 else f"an integer of {found.bit_length()} bits"
        case float():
            return repr(found) if math.isfinite(found) else f"{found}, which is not JSON"
        case Mapping():
            return f"an object with {_count(found, 'property', 'properties')}"
        case list() | tuple():
            return f"an array of {_count(found, 'item', 'items')}"
    return str(found)[:most] if hasattr(found, "as_tuple") else "a value that is not JSON"


def text(found: str, *, most: int = MAX_FOUND) -> str:
    """A quoted JSON string. Anything unprintable, surrogates included, is escaped; a cut one tells its length."""
    whole = _quoted(found[:most])
    if len(found) <= most and len(whole) <= most:
        return whole
    tail = f"… ({len(found)} characters)"
    kept = found[: most - len(tail) - 2]
    while len(_quoted(kept)) + len(tail) > most:
        kept = kept[:-1]
    return _quoted(kept) + tail


def kind_of(found: Any) -> str:
    """The JSON type, for a value that must not be shown."""
    match found:
        case bool():
            return "true or false"
        case str():
            return "string"
        case int() | float():
            return "number"
        case Mapping():
            return "object"
        case list() | tuple():
            return "array"
    return "value"


def types(names: Iterable[str]) -> str:
    """`["string", "null"]` -> `a string or null`."""
    return " or ".join(_TYPES.get(name, name) for name in names)


def choices(options: Sequence[Any], *, most: int = 20) -> str:
    shown = ", ".join(value(option, most=40) for option in options[:most])
    return shown if len(options) <= most else f"{shown} and {len(options) - most} more"


def path(keys: Sequence[Key]) -> str:
    """`a.b[0]`; a name that is not a plain word is quoted, `a["b c"]`; the whole instance is the empty string."""
    written = ""
    for key in keys:
        if isinstance(key, int):
            written += f"[{key}]"
        elif _PLAIN_NAME.fullmatch(key) and len(key) <= 60:
            written += f".{key}" if written else key
        else:
            written += f"[{text(key, most=60)}]"
    return written if len(written) <= 300 else "…" + written[-299:]


def _quoted(found: str) -> str:
    return json.dumps(found, ensure_ascii=not found.isprintable())


def _count(found: Sequence[Any] | Mapping[Any, Any], one: str, many: str) -> str:
    return f"{len(found)} {one if len(found) == 1 else many}"
