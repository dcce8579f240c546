"""What a failed keyword allows, as a phrase that follows `must be`."""

from collections.abc import Callable
from typing import Any

from jsonschema_rs import ValidationErrorKind as Kind

from lib.schema import render
from lib.schema.walk import Schema

_FORMATS = {
    "date-time": "an RFC 3339 date and time with its offset, such as 2026-01-31T09:30:00Z",
    "date": "a date such as 2026-01-31",
    "time": "a time with its offset, such as 09:30:00Z",
    "duration": "an ISO 8601 duration such as P1DT2H",
    "email": "an e-mail address",
    "uuid": "a UUID such as 123e4567-e89b-12d3-a456-426614174000",
    "uri": "an absolute URI such as https://example.com/path",
    "ipv4": "an IPv4 address",
    "ipv6": "an IPv6 address",
    "hostname": "a hostname",
    "regex": "a regular expression without look-around or back references, and not too large",
}

_PHRASES: dict[type[Kind], Callable[[Any], str]] = {
    Kind.Type: lambda kind: render.types(kind.types),
    Kind.Enum: lambda kind: f"one of {render.choices(kind.options)}",
    Kind.Constant: lambda kind: f"exactly {render.value(kind.expected_value)}",
    Kind.Minimum: lambda kind: f"at least {render.value(kind.limit)}",
    Kind.Maximum: lambda kind: f"at most {render.value(kind.limit)}",
    Kind.ExclusiveMinimum: lambda kind: f"greater than {render.value(kind.limit)}",
    Kind.ExclusiveMaximum: lambda kind: f"less than {render.value(kind.limit)}",
    Kind.MultipleOf: lambda kind: f"a multiple of {render.value(kind.multiple_of)}",
    Kind.MinLength: lambda kind: f"at least {_plural(kind.limit, 'character')} long",
    Kind.MaxLength: lambda kind: f"at most {_plural(kind.limit, 'character')} long",
    Kind.Pattern: lambda kind: f"a string that matches the pattern {render.text(kind.pattern, most=200)}",
    Kind.Format: lambda kind: _FORMATS.get(kind.format, f"a valid {kind.format[:60]}"),
    Kind.MinItems: lambda kind: f"an array of at least {_plural(kind.limit, 'item')}",
    Kind.MaxItems: lambda kind: f"an array of at most {_plural(kind.limit, 'item')}",
    Kind.UniqueItems: lambda _: "an array in which no item is repeated",
    Kind.UnevaluatedItems: lambda _: "an array without the items beyond those described",
    Kind.AdditionalItems: lambda kind: f"an array of at most {_plural(kind.limit, 'item')}",
    Kind.MinProperties: lambda kind: f"an object with at least {_plural(kind.limit, 'property', 'properties')}",
    Kind.MaxProperties: lambda kind: f"an object with at most {_plural(kind.limit, 'property', 'properties')}",
    Kind.FalseSchema: lambda _: "left out: no value is allowed here",
    Kind.OneOfMultipleValid: lambda _: "valid for exactly one of the alternatives, and is valid for several",
}


def phrase(kind: Kind, schema: Schema) -> str:
    """What `kind` allows; `schema` is the one the failed keyword stands in."""
    match kind:
        case Kind.Contains():
            return _contains(schema)
        case Kind.Not():
            return f"anything but {described([schema.get('not')]) or 'what the schema rules out'}"
    words = _PHRASES.get(type(kind))
    return words(kind) if words else f"valid for the keyword {kind.name!r} of the schema"


def described(schemas: list[Any]) -> str:
    """What a value at a place may be, from the first schema that says so; empty when none does."""
    for schema in schemas:
        if not isinstance(schema, dict):
            continue
        if "const" in schema:
            return f"exactly {render.value(schema['const'])}"
        if isinstance(schema.get("enum"), list):
            return f"one of {render.choices(schema['enum'])}"
        if "type" in schema:
            names = schema["type"]
            return render.types([names] if isinstance(names, str) else names)
    return ""


def _contains(schema: Schema) -> str:
    least, most = schema.get("minContains", 1), schema.get("maxContains")
    bound = f"at least {least}" if most is None else f"between {least} and {most}"
    what = described([schema.get("contains")])
    return f"an array in which {bound} of the items match{f': {what}' if what else ' the schema of contains'}"


def _plural(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
