"""Making ledger rows: plain dicts that `audit_append` takes as JSON."""

import os
import uuid
from collections.abc import Mapping
from typing import Any

import orjson

from lib import redact, seal

_instance = uuid.uuid4()

_MOST_PREVIEW = 4096


def instance() -> uuid.UUID:
    """This process, as its started entries name it, so that a crash can be told from a long call.

    Made anew after a fork: two processes under one name would each keep the other's calls from being declared dead.
    """
    return _instance


def _be_another() -> None:
    global _instance
    _instance = uuid.uuid4()


os.register_at_fork(after_in_child=_be_another)


def digest(value: Any) -> str:
    """A keyed digest of a JSON value; equal values give equal digests whatever the order of their keys."""
    try:
        return seal.digest(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
    except orjson.JSONEncodeError:
        return seal.digest(_uncommon(value))


def _uncommon(value: Any) -> bytes:
    """Bytes for what orjson refuses: depth beyond 254, whole numbers beyond 64 bits, lone surrogates."""
    parts: list[str] = []
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            parts.append(f"{{{len(node)}")
            waiting += [part for name in sorted(node, key=str) for part in (node[name], str(name))]
        elif isinstance(node, list | tuple):
            parts.append(f"[{len(node)}")
            waiting += node
        else:
            parts.append(hex(node) if type(node) is int else ascii(node))
    return " ".join(parts).encode()


def preview(value: Any, *, hidden: frozenset[str] = frozenset()) -> Any:
    """A redacted preview of at most 4 KiB."""
    shown = redact.preview(value, hidden=hidden)
    size = len(orjson.dumps(shown))
    return shown if size <= _MOST_PREVIEW else {"…": f"{size} bytes, too long to keep"}
