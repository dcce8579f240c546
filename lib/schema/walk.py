"""Where schemas are inside a schema, and which of them speak about a place in an instance."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

Key = str | int
Schema = Mapping[str, Any]

# Keywords by what they hold (JSON Schema 2020-12 core and applicator vocabularies).
_ONE = ("items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties")
_CONDITIONS = ("not", "if", "then", "else")
_LISTS = ("allOf", "anyOf", "oneOf")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
REFERENCES = ("$ref", "$dynamicRef")


def subschemas(schema: Any) -> Iterator[tuple[tuple[Key, ...], Schema]]:
    """Every object schema with its path, the root first. Data in `const`, `default` or `examples` is not visited."""
    stack: list[tuple[tuple[Key, ...], Any]] = [((), schema)]
    while stack:
        path, node = stack.pop()
        if not isinstance(node, Mapping):
            continue
        yield path, node
        for keyword in (*_ONE, *_CONDITIONS, "contentSchema"):
            if keyword in node:
                stack.append(((*path, keyword), node[keyword]))
        for keyword in (*_LISTS, "prefixItems"):
            stack.extend(((*path, keyword, n), each) for n, each in enumerate(listed(node.get(keyword))))
        for keyword in _NAMED:
            stack.extend(((*path, keyword, name), each) for name, each in named(node.get(keyword)).items())


class Outline:
    """A schema with its references resolved, for everything that reads a schema instead of running it.

    Only references into the document itself exist here: the compiler refuses all others.
    """

    def __init__(self, root: Any) -> None:
        self.root = root
        self._anchors = {
            node[keyword]: node
            for _, node in subschemas(root)
            for keyword in ("$anchor", "$dynamicAnchor")
            if isinstance(node.get(keyword), str)
        }

    def at(self, path: Sequence[Key]) -> list[Schema]:
        """Every object schema that may apply to the place `path` of an instance, by whichever branch."""
        current = self._together([self.root])
        for key in path:
            current = self._together(child for schema in current for child in _children(schema, key))
        return current

    def along(self, path: Sequence[Key]) -> Iterator[Schema]:
        """The schemas of the place and of every place above it."""
        for length in range(len(path) + 1):
            yield from self.at(path[:length])

    def in_place(self, schema: Schema) -> Iterator[Schema]:
        """The object schemas that `schema` applies to the same place, one step deep."""
        candidates = [schema.get(keyword) for keyword in _CONDITIONS]
        candidates += [each for keyword in _LISTS for each in listed(schema.get(keyword))]
        candidates += named(schema.get("dependentSchemas")).values()
        candidates += [self.resolve(schema[keyword]) for keyword in REFERENCES if keyword in schema]
        yield from (each for each in candidates if isinstance(each, Mapping))

    def resolve(self, reference: Any) -> Any:
        """What `#`, `#/a/b` (RFC 6901) or `#anchor` stands for, or None."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        fragment = unquote(reference[1:])
        if fragment and not fragment.startswith("/"):
            return self._anchors.get(fragment)
        node = self.root
        for token in fragment.split("/")[1:]:
            node = _member(node, token.replace("~1", "/").replace("~0", "~"))
        return node

    def _together(self, schemas: Iterable[Any]) -> list[Schema]:
        seen: dict[int, Schema] = {}
        stack = [schema for schema in schemas if isinstance(schema, Mapping)]
        while stack:
            schema = stack.pop()
            if id(schema) not in seen:
                seen[id(schema)] = schema
                stack.extend(self.in_place(schema))
        return list(seen.values())


def pointer(path: Sequence[Key]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in path)


def _children(schema: Schema, key: Key) -> Iterator[Any]:
    if isinstance(key, int):
        prefix = listed(schema.get("prefixItems"))
        yield prefix[key] if key < len(prefix) else schema.get("items")
        yield schema.get("contains")
        yield schema.get("unevaluatedItems")
        return
    properties = named(schema.get("properties"))
    yield properties[key] if key in properties else schema.get("additionalProperties")
    # Which pattern matches is not worth asking again: speaking about one property too many only hides more.
    yield from named(schema.get("patternProperties")).values()
    yield schema.get("unevaluatedProperties")


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def named(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _member(node: Any, token: str) -> Any:
    if isinstance(node, list):
        return node[int(token)] if token.isdecimal() and int(token) < len(node) else None
    return named(node).get(token)
