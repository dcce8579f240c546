"""Previews that are safe to keep: secrets by the name of their field or the shape of their value, and bounded size."""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "[redacted]"
_MOST_TEXT = 200
_MOST_ITEMS = 20
_MOST_DEPTH = 6

_SECRET_NAME = re.compile(
    r"passw|passphrase|pwd|secret|token|api[-_ ]?key|apikey|authori[sz]ation|credential|private[-_ ]?key|cookie"
    r"|session[-_ ]?id|\bpin\b|\bcvv\b|\bssn\b|\botp\b",
    re.IGNORECASE,
)
_SECRET_SHAPE = re.compile(
    r"(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"  # an Authorization value
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"  # a JWT
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # AWS
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}"  # GitHub
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}"  # Slack
    r"|\bsk[-_](?:live|test|proj|ant)?[-_A-Za-z0-9]{16,}"  # Stripe, OpenAI, Anthropic
    r"|\bmcphub_[a-z0-9]{8}_[A-Za-z0-9_-]{20,}"  # our own keys
    r"|://[^/\s:@]+:[^/\s@]+@",  # user:password in a URL
    re.IGNORECASE,
)


def preview(value: Any, *, hidden: frozenset[str] = frozenset(), depth: int = 0) -> Any:
    """A JSON value that is safe to store and show.

    hidden: names of fields that are secret by their schema (`writeOnly`, `format: password`), whatever they look like.
    Long text is cut, long lists and objects are shortened with a count, deep ones end in "…".
    """
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping):
        return _object(value, hidden, depth) if depth < _MOST_DEPTH else "…"
    if isinstance(value, list | tuple):
        return _array(value, hidden, depth) if depth < _MOST_DEPTH else "…"
    return value


def text(value: str) -> str:
    """Text without secrets of a known shape, cut to 200 characters."""
    # Search only what may be kept, plus room for a secret that straddles the cut.
    shown = _SECRET_SHAPE.sub(HIDDEN, value[: _MOST_TEXT * 10])
    shown = shown.replace("\x00", "\ufffd")  # Postgres cannot store NUL in text or jsonb
    return shown if len(shown) <= _MOST_TEXT and len(value) <= _MOST_TEXT * 10 else f"{shown[:_MOST_TEXT]}…"


def _object(value: Mapping[Any, Any], hidden: frozenset[str], depth: int) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, item in value.items():
        if len(shown) >= _MOST_ITEMS:
            shown["…"] = f"{len(value) - _MOST_ITEMS} more"
            break
        secret = name in hidden or (isinstance(name, str) and _SECRET_NAME.search(name) is not None)
        shown[text(str(name))] = HIDDEN if secret and item is not None else preview(item, hidden=hidden, depth=depth + 1)
    return shown


def _array(value: list[Any] | tuple[Any, ...], hidden: frozenset[str], depth: int) -> list[Any]:
    shown = [preview(item, hidden=hidden, depth=depth + 1) for item in value[:_MOST_ITEMS]]
    return [*shown, f"… {len(value) - _MOST_ITEMS} more"] if len(value) > _MOST_ITEMS else shown
