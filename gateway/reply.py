"""Answering one HTTP exchange: plain JSON when the answer is quick and silent, a stream as soon as there is news."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any

import anyio
import orjson

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
Headers = list[tuple[bytes, bytes]]

WATCH_AFTER = 0.2
"""Seconds a request may run before its connection is watched; most are done by then and cost no task."""
PING = 15.0
"""Seconds of silence after which a comment keeps the stream open through proxies."""
_JSON = (b"content-type", b"application/json")
_STREAM: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class Reply:
    """One answer, entered around the work that makes it.

    streaming: whether the client takes `text/event-stream`; if not, notifications are dropped.
    cancels: whether a client that goes away cancels the work (2026-07-28) or only misses the answer (before).
    """

    def __init__(self, receive: Receive, send: Send, *, extra: Headers, streaming: bool, cancels: bool):
        self._receive = receive
        self._send = send
        self._extra = extra
        self._streaming = streaming
        self._cancels = cancels
        self._started = False
        self._turn = asyncio.Lock()
        self._watcher: asyncio.Task[None] | None = None
        self.scope = anyio.CancelScope()

    def __enter__(self) -> "Reply":
        self.scope.__enter__()
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._watch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        return self.scope.__exit__(kind, problem, trace)

    @property
    def started(self) -> bool:
        """Whether the answer is a stream by now, so that its status can no longer be chosen."""
        return self._started

    async def open(self) -> None:
        """Begin the stream, with a comment, so that the client sees that it is open."""
        async with self._turn:
            await self._begin_stream()
            await self._write(b": open\r\n\r\n", more=True)

    async def notify(self, message: dict[str, Any]) -> None:
        """Send a notification on the request's own stream, which commits the answer to being a stream."""
        if self._streaming:
            async with self._turn:
                await self._begin_stream()
                await self._write(_frame(orjson.dumps(message)), more=True)

    async def finish(self, body: bytes, status: int = 200, headers: Headers | None = None) -> None:
        """Send the answer and end the exchange. Once streaming, the status has been sent and is what it is."""
        async with self._turn:
            if self._started:
                await self._write(_frame(body), more=False)
            else:
                await self._send(
                    {
                        "type": "http.response.start",
                        "status": status,
                        "headers": [_JSON, (b"content-length", b"%d" % len(body)), *self._extra, *(headers or [])],
                    }
                )
                await self._write(body, more=False)

    async def end(self, *, unanswered: bool = False) -> None:
        """End the exchange with nothing (more) to say: 202, or the end of the stream where one has begun.

        unanswered: the client asked for an answer and then took it back, so to HTTP it is a stream that stays empty.
        """
        async with self._turn:
            if unanswered and self._streaming:
                await self._begin_stream()
            if not self._started:
                headers = [(b"content-length", b"0"), *self._extra]
                await self._send({"type": "http.response.start", "status": 202, "headers": headers})
            await self._write(b"", more=False)

    def _watch(self) -> None:
        self._watcher = asyncio.create_task(self._watch_connection())

    async def _watch_connection(self) -> None:
        """Keep a long answer's connection open, and notice when nobody holds the other end any more."""
        gone = asyncio.ensure_future(self._until_disconnect())
        try:
            while not (await asyncio.wait([gone], timeout=PING))[0]:
                if self._streaming:
                    async with self._turn:
                        await self._begin_stream()
                        await self._write(b": ping\r\n\r\n", more=True)
        finally:
            gone.cancel()
        if self._cancels:
            self.scope.cancel()

    async def _until_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _begin_stream(self) -> None:
        if not self._started:
            self._started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": [*_STREAM, *self._extra]})

    async def _write(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def _frame(data: bytes) -> bytes:
    """One server-sent event. JSON from orjson holds no line breaks, so one `data:` line is enough."""
    return b"event: message\r\ndata: " + data + b"\r\n\r\n"
