"""Every text of a manifest, with where it stands. Nothing is left out, however it is nested or named."""

from collections.abc import Iterator, Mapping
from typing import Any

from tools.scan.values import Place, Where

MOST_CHARACTERS = 60_000
"""What is searched of one manifest. More is a finding of its own."""
_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependentRequired"})
_VALUES = frozenset({"default", "enum", "examples", "example", "const"})
_TEXTS = frozenset({"description", "title", "$comment"})
_GRAMMAR = frozenset(
    {"type", "format", "required", "$ref", "$dynamicRef", "$schema", "$anchor", "$dynamicAnchor", "$vocabulary"}
    | {"contentEncoding", "contentMediaType", "x-mcp-header"}
)
"""Keywords of one word each, whose text is looked at only where it is more than that."""
_LONG_WORD = 100


def places(manifest: Mapping[str, Any]) -> tuple[list[Place], bool]:
    """The texts in the order in which they matter, and whether these are all."""
    found: list[Place] = []
    left = MOST_CHARACTERS
    for place in _every(manifest):
        if not place.text:
            continue
        if left <= 0:
            return found, False
        if len(place.text) > left:
            return [*found, Place(where=place.where, path=place.path, text=place.text[:left])], False
        found.append(place)
        left -= len(place.text) + 8
    return found, True


def _every(manifest: Mapping[str, Any]) -> Iterator[Place]:
    for key, where in (("name", Where.NAME), ("title", Where.TITLE), ("description", Where.DESCRIPTION)):
        yield Place(where=where, path=key, text=str(manifest.get(key) or ""))
    for icon in manifest.get("icons") or ():
        yield Place(where=Where.ICON, path="icon", text=_without_picture(str(icon.get("src") or "")))
    for key in ("inputSchema", "outputSchema"):
        yield from _schema(manifest.get(key), key)


def _without_picture(source: str) -> str:
    """A picture that comes with the manifest is not text."""
    return source.partition(",")[0] if source.startswith("data:image/") else source


def _schema(root: Any, start: str) -> Iterator[Place]:
    """Depth is bounded where drafts are checked; a stack keeps a hostile one from mattering here."""
    waiting: list[tuple[Any, str]] = [(root, start)]
    while waiting:
        node, path = waiting.pop()
        if isinstance(node, list):
            waiting.extend((one, path) for one in reversed(node))
        if not isinstance(node, Mapping):
            continue
        deeper: list[tuple[Any, str]] = []
        for key, value in node.items():
            here = f"{path}.{key}"
            if key in _VALUES:
                yield from _value(value, here)
            elif key in _MAPS and isinstance(value, Mapping):
                yield from _names(key, value, here)
                deeper += [(one, f"{path}.{name}") for name, one in value.items()]
            elif isinstance(value, str):
                yield from _text(key, value, here)
            else:
                yield from _foreign(key, value, here)
                deeper.append((value, here))
        waiting.extend(reversed(deeper))


def _names(key: str, value: Mapping[str, Any], path: str) -> Iterator[Place]:
    where = Where.SCHEMA_PATTERN if key == "patternProperties" else Where.SCHEMA_NAME
    for name in value:
        yield Place(where=where, path=path, text=str(name))


def _text(key: str, value: str, path: str) -> Iterator[Place]:
    if key in _TEXTS:
        yield Place(where=Where.SCHEMA_TEXT, path=path, text=value)
    elif key == "pattern":
        yield Place(where=Where.SCHEMA_PATTERN, path=path, text=value)
    elif _says_more(key, value):
        yield Place(where=Where.SCHEMA_OTHER, path=path, text=value)


def _says_more(key: str, value: str) -> bool:
    return key not in _GRAMMAR or " " in value or len(value) > _LONG_WORD


def _foreign(key: str, value: Any, path: str) -> Iterator[Place]:
    """Texts in a list stand beside no keyword of their own."""
    for one in value if isinstance(value, list) else ():
        if isinstance(one, str) and _says_more(key, one):
            yield Place(where=Where.SCHEMA_OTHER, path=path, text=one)


def _value(value: Any, path: str) -> Iterator[Place]:
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            yield Place(where=Where.SCHEMA_VALUE, path=path, text=node)
        elif isinstance(node, list):
            waiting.extend(reversed(node))
        elif isinstance(node, Mapping):
            waiting.extend([one for pair in node.items() for one in pair][::-1])
