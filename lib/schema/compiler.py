"""Compile a schema, or say why not."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind as Kind

from lib.schema import render
from lib.schema.effort import deepest_affordable
from lib.schema.validator import Validator, is_deeper
from lib.schema.walk import REFERENCES, Key, Outline, pointer, subschemas
from lib.schema.wording import phrase

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_BYTES = 256 * 1024
MAX_DEPTH = 64
MAX_INSTANCE_DEPTH = 64
# Evaluations along one path through an instance, and the depth at which more than these is the schema's fault.
MAX_EFFORT = 4_000
MIN_INSTANCE_DEPTH = 6
# The linear-time engine: a pattern from a stranger must not be able to backtrack. Sizes are bytes of compiled pattern.
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1024 * 1024, dfa_size_limit=1024 * 1024)


class SchemaError(Exception):
    """A schema that is not used. `message` is a sentence for its author, `path` a JSON pointer (RFC 6901) into it."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{message} (at {path})" if path else message)
        self.message = message
        self.path = path


def compile_schema(schema: Mapping[str, Any] | bool) -> Validator:
    """Compile a JSON Schema 2020-12, with or without `$schema`. Later changes to `schema` have no effect.

    Raises SchemaError.
    """
    outline = Outline(_copied(schema))
    for path, node in subschemas(outline.root):
        _check_identity(path, node)
    compiled = _compiled(outline.root)
    _check_references(outline)
    try:
        max_depth = deepest_affordable(outline, deepest=MAX_INSTANCE_DEPTH, most=MAX_EFFORT)
    except RecursionError:
        raise SchemaError("References follow each other in too long a chain.") from None
    if max_depth < MIN_INSTANCE_DEPTH:
        raise SchemaError(
            f"The alternatives (anyOf, oneOf, allOf, $ref) multiply to more than {MAX_EFFORT} evaluations of one value."
        )
    return Validator(compiled, outline, max_depth)


def _copied(schema: Any) -> Any:
    if not isinstance(schema, Mapping | bool):
        raise SchemaError(f"A schema is an object, true or false, not {render.value(schema)}.")
    if is_deeper(schema, MAX_DEPTH):
        raise SchemaError(f"The schema is nested more than {MAX_DEPTH} levels deep.")
    try:
        text = json.dumps(schema if isinstance(schema, bool) else dict(schema), allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (TypeError, ValueError):
        raise SchemaError("The schema is not JSON: it holds a value, a number or a text that JSON has not.") from None
    if size > MAX_BYTES:
        raise SchemaError(f"The schema has {size} bytes; at most {MAX_BYTES} are allowed.")
    return json.loads(text)


def _check_identity(path: Sequence[Key], node: Mapping[str, Any]) -> None:
    dialect = node.get("$schema", DIALECT)
    if not isinstance(dialect, str) or dialect.removesuffix("#") != DIALECT:
        raise SchemaError(
            f"$schema is {render.value(dialect)}; only JSON Schema 2020-12 is supported: {DIALECT}, or leave it out.",
            pointer((*path, "$schema")),
        )
    if path and "$id" in node:
        raise SchemaError("An $id below the root is not supported: use $defs.", pointer((*path, "$id")))
    for keyword in REFERENCES:
        reference = node.get(keyword)
        if isinstance(reference, str) and not reference.startswith("#"):
            raise SchemaError(
                f"{keyword} is {render.value(reference)}, which is outside this schema. Nothing is fetched: move it "
                f'into $defs and refer to it as "#/$defs/name".',
                pointer((*path, keyword)),
            )


def _check_references(outline: Outline) -> None:
    """The engine has found every reference; what this module cannot find, it could not bound the work of."""
    for path, node in subschemas(outline.root):
        for keyword in REFERENCES:
            if keyword in node and outline.resolve(node[keyword]) is None:
                raise SchemaError(
                    f"{keyword} is {render.value(node[keyword])}, which is not in this schema.",
                    pointer((*path, keyword)),
                )


def _compiled(schema: Any) -> jsonschema_rs.Draft202012Validator:
    try:
        return jsonschema_rs.Draft202012Validator(
            schema, validate_formats=True, pattern_options=_PATTERNS, offline=True
        )
    except jsonschema_rs.ValidationError as error:
        raise _explained(error, schema) from None
    except ValueError as error:
        raise SchemaError(f"The schema cannot be compiled: {error}.") from None


def _explained(error: jsonschema_rs.ValidationError, schema: Any) -> SchemaError:
    if isinstance(error.kind, Kind.Referencing):
        reason = error.kind.error.message
        return SchemaError(f"A reference in the schema cannot be resolved: {reason[:200]}.")
    keys = error.instance_path
    found = schema
    for key in keys:
        found = found[key]
    keyword = next((str(key) for key in reversed(keys) if isinstance(key, str)), "The schema")
    return SchemaError(f"{keyword[:60]} is {render.value(found)}, but must be {_allowed(error)}.", pointer(keys))


def _allowed(error: jsonschema_rs.ValidationError) -> str:
    kind = error.kind
    if isinstance(kind, Kind.AnyOf) and error.instance_path[-1:] == ["type"]:
        return "array, boolean, integer, null, number, object or string, or a list of these"
    return phrase(kind, {})
