"""Previews that are safe to keep: secrets by the name of their field or the shape of their value, and bounded size."""

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

HIDDEN = "[redacted]"
_MOST_TEXT = 200
_MOST_ITEMS = 20
_MOST_DEPTH = 6
_MOST_VALUES = 300
_MOST_SEARCHED = 2000
_MOST_NAME = 64

_SECRET_NAME = re.compile(
    r"passw|passphrase|passcode|pwd|secret|token|api[-_ ]?key|access[-_ ]?key|authori[sz]ation|bearer|credential"
    r"|(?:private|signing|encryption)[-_ ]?key|connection[-_ ]?string|cookie|session[-_ ]?id"
    r"|(?<![a-z])(?:pin|cvv|cvc|ssn|otp|jwt)(?![a-z])",
    re.IGNORECASE,
)
_SECRET_SHAPE = re.compile(
    r"(?:bearer|basic)\s+[a-z0-9._~+/=-]{8,}"  # an Authorization value
    r"|eyJ[a-z0-9_-]{8,}(?:\.[a-z0-9_-]*){0,2}"  # a JWT; a long one may be cut before its last dot
    r"|-----BEGIN [a-z0-9 ]*PRIVATE KEY-----.*?(?:-----END [a-z0-9 ]*PRIVATE KEY-----|\Z)"
    r"|(?<![a-z0-9])(?:AKIA|ASIA)[0-9a-z]{16}(?![0-9a-z])"  # AWS
    r"|gh[pousr]_[a-z0-9]{20,}|github_pat_\w{20,}"  # GitHub
    r"|glpat-[a-z0-9_-]{20,}"  # GitLab
    r"|xox[abeprs]-[a-z0-9-]{10,}|xapp-[a-z0-9-]{10,}"  # Slack
    r"|AIza[a-z0-9_-]{30,}"  # Google
    r"|(?<![a-z0-9])[sr]k[-_][-_a-z0-9]{16,}"  # Stripe, OpenAI, Anthropic
    r"|mcphub_[a-z0-9]{2,8}_[a-z0-9_-]{20,}"  # our own: keys, codes, tokens, secrets of machines
    r"|://[^/\s:@]*:[^/\s]*@",  # user:password in a URL; the user may be empty
    re.IGNORECASE | re.DOTALL,
)


def preview(value: Any, *, hidden: frozenset[str] = frozenset()) -> Any:
    """A JSON value that is safe to store and show, whatever comes in.

    hidden: names of fields that are secret by their schema (`writeOnly`, `format: password`), whatever they look like.
    Long text is cut, long lists and objects are shortened with a count, and what is too deep, or comes after the
    first 300 values, ends in "…".
    """
    return _Preview(hidden).of(value, 0)


def text(value: str) -> str:
    """Text without secrets of a known shape, cut to 200 characters; always valid Unicode without NUL."""
    # Search only what may be kept, plus room for a secret that straddles the cut.
    shown = secrets(value[:_MOST_SEARCHED])
    return shown if len(shown) <= _MOST_TEXT and len(value) <= _MOST_SEARCHED else f"{shown[:_MOST_TEXT]}…"


def secrets(value: str) -> str:
    """The whole text without secrets of a known shape; always valid Unicode without NUL."""
    shown = _SECRET_SHAPE.sub(HIDDEN, value)
    if not shown.isascii():
        shown = shown.encode(errors="replace").decode()  # lone surrogates have no UTF-8
    if "\x00" in shown:
        shown = shown.replace("\x00", "\ufffd")  # Postgres cannot store NUL in text or jsonb
    return shown


def named(name: str) -> tuple[str, bool]:
    """The name as it may be shown, and whether it is the name of a secret."""
    return text(name), _SECRET_NAME.search(name[:_MOST_SEARCHED]) is not None


# The names of arguments come again with every call; they are kept while they are short enough to be names.
_known_name = lru_cache(maxsize=4096)(named)


class _Preview:
    """One walk, which stops looking after so many values: what it costs does not grow with what is sent."""

    __slots__ = ("_hidden", "_left")

    def __init__(self, hidden: frozenset[str]):
        self._hidden = hidden
        self._left = _MOST_VALUES

    def of(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if isinstance(value, str):
            return text(value) if self._left > 0 else "…"
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return _number(value)
        if depth >= _MOST_DEPTH or self._left <= 0:
            return "…"
        if isinstance(value, Mapping):
            return self._object(value, depth + 1)
        if isinstance(value, list | tuple):
            return self._array(value, depth + 1)
        return HIDDEN if isinstance(value, bytes | bytearray | memoryview) else text(str(value))

    def _object(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key, item in islice(value.items(), _MOST_ITEMS):
            name = key if isinstance(key, str) else str(key)
            safe, secret = _known_name(name) if len(name) <= _MOST_NAME else named(name)
            secret = item is not None and (secret or name in self._hidden)
            shown[safe] = HIDDEN if secret else self.of(item, depth)
        return {**shown, "…": f"{len(value) - _MOST_ITEMS} more"} if len(value) > _MOST_ITEMS else shown

    def _array(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        shown = [self.of(item, depth) for item in value[:_MOST_ITEMS]]
        return [*shown, f"… {len(value) - _MOST_ITEMS} more"] if len(value) > _MOST_ITEMS else shown


def _number(value: float) -> Any:
    """The number; as text where JSON or Postgres has none for it (beyond 64 bits, infinite, not a number)."""
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else "a whole number beyond 64 bits"
    return value if math.isfinite(value) else str(value)
