"""News of a call on the stream of the request that waits for it."""

from collections.abc import Mapping
from typing import Any

from gateway import wire
from gateway.visit import Visit

LOG_LEVEL = "io.modelcontextprotocol/logLevel"
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


class Reporter:
    """A Report that sends progress and log messages on the request's own stream.

    about: what each of them carries as its `_meta`.
    """

    def __init__(self, visit: Visit, version: str, meta: Mapping[str, Any], about: Mapping[str, Any] | None = None):
        self._notify = visit.notify
        self._token = meta.get("progressToken")
        self._furthest = float("-inf")
        self._levels = _wanted_levels(version, meta)
        self._about = about

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
        if self._about is not None:
            params["_meta"] = dict(self._about)
        await self._notify({"jsonrpc": "2.0", "method": method, "params": params})


def _wanted_levels(version: str, meta: Mapping[str, Any]) -> tuple[str, ...]:
    if version in wire.HANDSHAKE:
        return LEVELS
    lowest = meta.get(LOG_LEVEL)
    return LEVELS[LEVELS.index(lowest) :] if lowest in LEVELS else ()
