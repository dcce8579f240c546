"""The requests of older revisions that are under way here, so that `notifications/cancelled` can find them.

2026-07-28 cancels by closing the connection. Before it, a second POST names the request. Without a session, whoever has
the same credential, address and User-Agent counts as the same host: hosts number their requests from 1, so where they
share a key, the rest keeps them apart. A cancellation that could mean two requests is ignored, as the specification
allows (basic/utilities/cancellation).
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio

from gateway.visit import Visit

Key = tuple[int, str, str, str, str]

_FOLLOWED = frozenset({"tools/call", "tasks/result"})
"""What may take long. Giving up the wait for a task's result leaves the task alone."""

_scopes: defaultdict[Key, list[anyio.CancelScope]] = defaultdict(list)


@contextmanager
def entered(visit: Visit, message: dict[str, Any], scope: anyio.CancelScope, *, cancellable: bool) -> Iterator[None]:
    """Make the request findable while it runs; `scope` is what a cancellation cancels."""
    if not cancellable or message["method"] not in _FOLLOWED:
        yield
        return
    key = _key(visit, message["id"])
    _scopes[key].append(scope)
    try:
        yield
    finally:
        _scopes[key].remove(scope)
        if not _scopes[key]:
            del _scopes[key]


def cancel(visit: Visit, notification: dict[str, Any]) -> None:
    """Stop the request that a `notifications/cancelled` names, if it is the same host's and runs here."""
    if notification["method"] != "notifications/cancelled":
        return
    scopes = _scopes.get(_key(visit, (notification.get("params") or {}).get("requestId")), [])
    if len(scopes) == 1:
        scopes[0].cancel()


def _key(visit: Visit, request_id: Any) -> Key:
    caller = visit.caller
    agent = visit.headers.get("user-agent", "")
    return caller.tenant_id, caller.credential, visit.address, agent, f"{type(request_id).__name__}:{request_id}"
