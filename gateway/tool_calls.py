"""tools/call: the one method that is hot enough to be dispatched without the SDK.

Params of the shape that hosts send are recognised here and answered here, which costs a sixth of a call less. Whatever
looks different in any way goes through the SDK, whose validation words the error or lets it pass; its handler for
tools/call ends in `call` as well, so there is one way to run a tool and one shape of its result.
"""

from collections.abc import Mapping
from typing import Any

from audit.writer import LedgerUnavailable
from gateway import translate, wire
from gateway.errors import UNAVAILABLE, Fault
from gateway.visit import Visit
from policy.decide import Refusal
from tools import calls

_PLAIN = frozenset({"name", "arguments", "_meta"})
_ENVELOPE = "io.modelcontextprotocol/"
_LOG_LEVEL = f"{_ENVELOPE}logLevel"
_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


class Reporter:
    """A Report that sends progress and log messages on the request's own stream."""

    def __init__(self, visit: Visit, version: str, meta: Mapping[str, Any]):
        self._notify = visit.notify
        self._token = meta.get("progressToken")
        self._furthest = float("-inf")
        self._levels = _wanted_levels(version, meta)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Progress must increase (MCP basic/utilities/progress), so a step back is not sent."""
        if self._token is None or progress <= self._furthest:
            return
        self._furthest = progress
        await self._send("notifications/progress", wire.progress_params(self._token, progress, total, message))

    async def log(self, level: str, data: Any) -> None:
        """On 2026-07-28 only levels that the request asked for; before it, without a session, all of them."""
        if level in self._levels:
            await self._send("notifications/message", {"level": level, "data": data})

    async def _send(self, method: str, params: dict[str, Any]) -> None:
        await self._notify({"jsonrpc": "2.0", "method": method, "params": params})


def _wanted_levels(version: str, meta: Mapping[str, Any]) -> tuple[str, ...]:
    if version in wire.HANDSHAKE:
        return _LEVELS
    lowest = meta.get(_LOG_LEVEL)
    return _LEVELS[_LEVELS.index(lowest) :] if lowest in _LEVELS else ()


def is_plain(message: Mapping[str, Any]) -> bool:
    """Whether the request is a tools/call whose params need no judgement of the SDK's."""
    if message["method"] != "tools/call":
        return False
    params = message.get("params")
    return (
        isinstance(params, dict)
        and params.keys() <= _PLAIN
        and isinstance(params.get("name"), str)
        and isinstance(params.get("arguments", {}), dict)
        and _is_plain_meta(params.get("_meta", {}))
    )


def _is_plain_meta(meta: Any) -> bool:
    if not isinstance(meta, dict) or type(meta.get("progressToken", "")) not in (str, int):
        return False
    info = meta.get(f"{_ENVELOPE}clientInfo", {"name": "", "version": ""})
    return (
        isinstance(meta.get(f"{_ENVELOPE}clientCapabilities", {}), dict)
        and isinstance(info, dict)
        and isinstance(info.get("name"), str)
        and isinstance(info.get("version"), str)
        and meta.get(_LOG_LEVEL, "info") in _LEVELS
    )


async def call(visit: Visit, version: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Run the tool that valid params name, and shape its result for the caller's revision.

    Raises a Fault for what is no result: an unknown tool, scopes that are missing, a ledger that cannot be written.
    """
    meta = params.get("_meta") or {}
    try:
        ended = await calls.run(
            visit.caller,
            params["name"],
            params.get("arguments") or {},
            catalog=visit.catalog,
            origin=visit.origin(meta, meta.get(f"{_ENVELOPE}clientInfo")),
            report=Reporter(visit, version, meta),
        )
    except LedgerUnavailable as problem:
        raise Fault(
            code=UNAVAILABLE,
            message=f"{problem}. Try again in a few seconds.",
            status=503,
            headers={"Retry-After": "5"},
        ) from None
    if isinstance(ended, Refusal):
        return translate.refusal(ended, version)
    return translate.result(ended, version)
