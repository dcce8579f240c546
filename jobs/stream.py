"""A job's events as server-sent events (WHATWG HTML, section 9.2), at `/api/v1/t/<slug>/jobs/<id>/events`.

Raw ASGI: a stream may last as long as its job, and must hold no thread and no connection to Postgres meanwhile. What
wakes it is the process's one listener (`lib.events`), so that following costs nothing while nothing happens.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

import orjson

from access.head import Head, Headers, cors, wrong_peer
from jobs import following, rows
from jobs.api.entry import Refused, begin, enter, preflight, too_much, unavailable, unknown_job
from jobs.shapes import job_body
from jobs.values import View
from lib import db, events
from tenants.caller import Caller

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PING = 15.0
"""Seconds of silence after which a comment keeps the stream open through proxies."""
ADMIT_AGAIN = 60.0
"""Seconds after which the credential is looked at again: a stream must not outlive it by more. It is before each
state too, so that whoever lost it does not learn how the job ended."""
_RETRY = b"retry: 2000\n\n"
_STREAM: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


async def stream(scope: MutableMapping[str, Any], receive: Receive, send: Send, slug: str, job_id: str) -> None:
    """Answer one request: the job as it is now, then what happens to it, until it has ended or the client goes."""
    head = Head.of(scope)
    if wrong := wrong_peer(head):
        await _refuse(send, Refused(status=wrong[0], reason="wrong_peer", message=wrong[1]), [])
        return
    own = cors(head)
    if head.method == "OPTIONS":
        await _send(send, 204, b"", preflight(own))
        return
    try:
        caller, view = await _opened(head, slug, job_id)
    except Exception as problem:
        await _refuse(send, _refused(problem, slug), own)
        return
    with following.wait(caller) as refused:
        if refused is not None:
            await _refuse(send, too_much(refused), own)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [*_STREAM, *own]})
        await _until_gone(receive, _Stream(send, head, slug, caller, view).run())
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _opened(head: Head, slug: str, job_id: str) -> tuple[Caller, View]:
    """Who asks, and the job; or Refused."""
    caller = await begin(head, slug)
    if head.method != "GET":
        allowed = {"Allow": "GET, OPTIONS"}
        raise Refused(status=405, reason="wrong_method", message="Events are read with GET.", headers=allowed)
    view = await rows.get(caller, job_id)
    if view is None:
        raise unknown_job()
    return caller, view


class _Stream:
    """What one client was told, and who it is."""

    def __init__(self, send: Send, head: Head, slug: str, caller: Caller, view: View) -> None:
        self._send = send
        self._head = head
        self._slug = slug
        self._caller = caller
        self._view = view
        self._admitted = time.monotonic()

    async def run(self) -> None:
        """Whatever goes wrong, the stream just ends: the client comes again (`retry`) and is told what it is then."""
        try:
            async with events.watch(self._caller.tenant_id, self._view.id) as news:
                await self._write(_RETRY)
                if await self._look():
                    await self._follow(news)
        except (Refused, *db.UNREACHABLE):
            pass
        except Exception:
            log.exception("the events of job %s broke off", self._view.id)

    async def _follow(self, news: events.Events) -> None:
        """Wait, and read the row again on whatever comes but progress, which is on its way into the row, and whenever
        the credential was looked at again."""
        while True:
            event = await news.get(PING)
            if event is not None and event.kind == "ending":
                return
            told = event is not None and event.kind not in ("progress", "log")
            if told or time.monotonic() - self._admitted > ADMIT_AGAIN:
                await self._admit_again()
                if not await self._look():
                    return
            if event is None:
                await self._write(b": ping\n\n")
            elif event.kind == "progress":
                await self._write(_frame("progress", _progress(event), self._view))

    async def _look(self) -> bool:
        """Tell how the job is now; whether there is more to come."""
        view = await rows.get(self._caller, str(self._view.id))
        if view is None:
            return False
        self._view = view
        await self._write(_frame("state", job_body(view, self._slug), view))
        return not view.ended

    async def _admit_again(self) -> None:
        self._caller = await enter(self._head, self._slug)
        self._admitted = time.monotonic()

    async def _write(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})


def _progress(event: events.Event) -> dict[str, Any]:
    return {"done": event.progress, "total": event.total, "message": event.message}


def _frame(kind: str, data: dict[str, Any], view: View) -> bytes:
    """One event. JSON from orjson holds no line breaks. The id says how new it is; whoever comes again with it as
    Last-Event-ID is told how the job is then, which makes up for all that was missed."""
    stamp = int(view.changed_at.timestamp() * 1000)
    told = orjson.dumps(data, option=orjson.OPT_UTC_Z)
    return b"event: %s\nid: %d\ndata: %s\n\n" % (kind.encode(), stamp, told)


async def _until_gone(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do the work until it is done, or the client has gone, or the server stops and cancels this: the stream then ends
    as any other, and its client comes again to where it is served."""
    both = [asyncio.create_task(work), asyncio.create_task(_disconnected(receive))]
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    for one in both:
        one.cancel()
    await asyncio.gather(*both, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _refused(problem: Exception, slug: str) -> Refused:
    if isinstance(problem, Refused):
        return problem
    if isinstance(problem, db.UNREACHABLE):
        log.error("Postgres cannot be reached", exc_info=problem)
        return unavailable()
    log.error("a request for events of /t/%s failed", slug, exc_info=problem)
    return Refused(status=500, reason="internal_error", message="The hub failed; it is logged.")


async def _refuse(send: Send, refused: Refused, own: Headers) -> None:
    given = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in refused.headers.items()]
    kind = [(b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff")]
    await _send(send, refused.status, refused.encoded(), [*own, *kind, *given])


async def _send(send: Send, status: int, body: bytes, headers: Headers) -> None:
    sized = headers if status == 204 else [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": sized})
    await send({"type": "http.response.body", "body": body})
