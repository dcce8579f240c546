"""Reading the form that a client posts (RFC 6749 section 3.2): every parameter once, none of them empty."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from django.http import HttpRequest

MOST_BYTES = 16 * 1024
_MOST_FIELDS = 50
_FORM = "application/x-www-form-urlencoded"


class Malformed(Exception):
    """The request cannot be read; a sentence for who wrote the client."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """The parameters of one request. `resource` may be repeated (RFC 8707 section 2) and is apart."""

    fields: Mapping[str, str]
    resources: tuple[str, ...]

    def get(self, name: str) -> str | None:
        """A parameter, or None; one that was sent without a value was not sent (RFC 6749 section 3.2)."""
        return self.fields.get(name)

    def needed(self, name: str) -> str:
        """The same; raises Malformed when it is not there."""
        found = self.fields.get(name)
        if found is None:
            raise Malformed(f"The parameter {name} is missing.")
        return found


def read(request: HttpRequest) -> Form:
    """The form in a request's body, and in nothing else; raises Malformed."""
    if request.META.get("QUERY_STRING"):
        raise Malformed("Send the parameters in the body; a URL ends up in logs.")
    if request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != _FORM:
        raise Malformed(f"Send the body as Content-Type: {_FORM}.")
    pairs = [(name, value) for name, value in _pairs(request.read(MOST_BYTES + 1)) if value]
    fields = {name: value for name, value in pairs if name != "resource"}
    resources = tuple(value for name, value in pairs if name == "resource")
    if len(fields) + len(resources) < len(pairs):
        raise Malformed("A parameter is there more than once.")
    return Form(fields=fields, resources=resources)


def _pairs(body: bytes) -> list[tuple[str, str]]:
    if len(body) > MOST_BYTES:
        raise Malformed(f"The body is larger than {MOST_BYTES} bytes.")
    try:
        text = body.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:  # not UTF-8 below the percent signs, or too many
        raise Malformed(f"The body cannot be read as {_FORM}.") from None
    if any("\0" in part for pair in pairs for part in pair):
        raise Malformed("A parameter has a NUL byte in it.")
    return pairs
