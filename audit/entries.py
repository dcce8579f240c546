"""Making ledger rows: plain dicts that `audit_append` takes as JSON."""

import uuid
from typing import Any

import orjson

from lib import redact, seal

INSTANCE = uuid.uuid4()
"""This process, as its started entries name it, so that a crash can be told from a long call."""

_MOST_PREVIEW = 4096


def digest(value: Any) -> str:
    """A keyed digest of a JSON value; equal values give equal digests whatever the order of their keys."""
    return seal.digest(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


def preview(value: Any, *, hidden: frozenset[str] = frozenset()) -> Any:
    """A redacted preview of at most 4 KiB."""
    shown = redact.preview(value, hidden=hidden)
    size = len(orjson.dumps(shown))
    return shown if size <= _MOST_PREVIEW else {"…": f"{size} bytes, too long to keep"}
