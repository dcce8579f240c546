"""Streams that tell a host what changed, so that it does not have to ask.

2026-07-28 has subscriptions/listen, which carries changes of the tenant's list of tools, and of tasks (SEP-2663,
`taskIds`). Before it there is the stream that a GET opens, which carries those of the list. Nothing is polled: a stream
costs a future on this process's one listener, and looks at rows when it hears that there is something to see.
"""

import time
import uuid
from collections.abc import Mapping
from typing import Any

from access.head import Head
from gateway import server, session, task_shapes, tasks, wire
from gateway.errors import INVALID_PARAMS, INVALID_REQUEST, Fault
from gateway.reply import Reply
from gateway.visit import Visit
from jobs import queries, rows
from jobs.values import View
from lib import db, events
from tools.catalog import catalog

METHOD = "subscriptions/listen"
MOST_TASKS = 100
"""Tasks that one stream follows; what is asked beyond that is not among the acknowledged."""
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
_CHANGED = "notifications/tools/list_changed"


def check_stream(method: str, head: Head) -> None:
    """Raise the Fault (406) for a client that would listen and takes no stream."""
    if method == METHOD and not head.streaming:
        raise Fault(code=INVALID_REQUEST, message="Listening needs `Accept: text/event-stream`.", status=406)


async def listen(visit: Visit, era: wire.Era, message: Mapping[str, Any]) -> dict[str, Any]:
    """Acknowledge what will be told, then tell it, until the client goes or nothing is left to tell."""
    asked = message["params"].get("notifications")
    if not isinstance(asked, dict):
        raise Fault(code=INVALID_PARAMS, message="notifications must be an object.")
    stream = _Stream(visit, era.version, {_SUBSCRIPTION: message["id"]})
    job_ids = _task_ids(asked.get("taskIds"), era)
    tasks.look(visit.caller, max(1, len(job_ids)))
    watched = {*job_ids} | ({events.NO_JOB} if asked.get("toolsListChanged") is True else set())
    with tasks.wait(visit.caller):
        async with events.watch(visit.caller.tenant_id, *watched) as news:
            views = [view for job_id in job_ids if (view := await stream.look(job_id)) is not None]
            await stream.acknowledge(tools=events.NO_JOB in watched, tasks=views if "taskIds" in asked else None)
            await stream.follow(news)
    return {"resultType": "complete", "_meta": stream.meta}


def heard_in(head: Head) -> str:
    """The older revision in which a request without a body would listen; the Fault for one that cannot (405, 406, 400).

    Streamable HTTP, "Listening for Messages from the Server": a GET, whose sender has initialized before. One that
    shows no sign of that, neither the version header nor a session's id, is of the HTTP+SSE transport of 2024-11-05,
    and would wait for ever for what a stream has to begin with there.
    """
    version = head.headers.get(wire.VERSION_HEADER, wire.BATCH_VERSION)
    older = version in wire.HANDSHAKE and (wire.VERSION_HEADER in head.headers or session.HEADER in head.headers)
    if head.method == "GET" and version not in wire.HANDSHAKE:
        wire.check_version(version)
    if head.method != "GET" or not older:
        raise _no_stream("GET, POST" if older else "POST")
    if "text/event-stream" not in head.headers.get("accept", ""):
        raise Fault(code=INVALID_REQUEST, message="Listening needs `Accept: text/event-stream`.", status=406)
    return version


async def hear(visit: Visit, version: str, reply: Reply) -> None:
    """Tell a host of an older revision whenever what it would be shown has changed, until it goes or may not know.

    While Postgres is away nobody can say who may know; that ends no stream, as hosts give up after a try or two.
    """
    stream = _Stream(visit, version, {})
    with tasks.wait(visit.caller, "tools"):
        async with events.watch(visit.caller.tenant_id, events.NO_JOB) as news:
            await reply.open()
            await stream.show(known=session.knows(visit, version))
            while not await _followed(stream, news):
                pass


async def _followed(stream: "_Stream", news: events.Events) -> bool:
    """Whether it came to an end, and was not cut off by an outage."""
    try:
        await stream.follow(news)
    except db.UNREACHABLE:
        return False
    return True


def _no_stream(allowed: str) -> Fault:
    says = "This endpoint takes POST, and to listen GET from hosts that have initialized, before 2026-07-28."
    return Fault(code=INVALID_REQUEST, message=says, status=405, headers={"Allow": allowed})


def _task_ids(asked: Any, era: wire.Era) -> list[uuid.UUID]:
    """The jobs that were asked for, each once. Without the extension there are none to ask for."""
    if asked is None:
        return []
    if not isinstance(asked, list) or not all(isinstance(one, str) for one in asked):
        raise Fault(code=INVALID_PARAMS, message="taskIds must be a list of strings.")
    if not task_shapes.declared(era.capabilities):
        raise task_shapes.missing("Following tasks needs a client that declares their extension.")
    parsed = (queries.parse_id(one) for one in dict.fromkeys(asked))
    return [job_id for job_id in parsed if job_id is not None][:MOST_TASKS]


class _Stream:
    """One open subscription: who listens, and what they were told last."""

    def __init__(self, visit: Visit, version: str, meta: dict[str, Any]) -> None:
        """meta: what every frame carries, if anything."""
        self._visit = visit
        self._caller = visit.caller
        self._version = version
        self._tools = b""
        self._tasks: dict[uuid.UUID, dict[str, Any]] = {}
        self.meta = meta

    async def acknowledge(self, *, tools: bool, tasks: list[View] | None) -> None:
        """What is honoured, which must be the first frame; then how each task stands now, as it may have moved on
        since its id was given."""
        honoured: dict[str, Any] = {"toolsListChanged": True} if tools else {}
        if tools:
            await self.show(known=True)
        if tasks is not None:
            honoured["taskIds"] = [str(view.id) for view in tasks]
        await self._send("notifications/subscriptions/acknowledged", {"notifications": honoured})
        for view in tasks or ():
            await self._tell(view)

    async def show(self, *, known: bool) -> None:
        """Tell of changes in the list from here on; at once, unless its reader is known to have it as it is."""
        self._tools = server.listed(self._visit, self._version)
        if not known:
            await self._send(_CHANGED, {})

    async def follow(self, news: events.Events) -> None:
        """Tell what is new for as long as there is something to listen to.

        The credential is looked at before anything is told, and every minute.
        """
        due = time.monotonic() + tasks.LOOK_AGAIN
        while self._tools or self._tasks:
            event = await news.get(max(0.0, due - time.monotonic()))
            if event is not None and event.kind == "ending":
                return
            if event is not None and event.kind in ("progress", "log"):
                continue
            due = time.monotonic() + tasks.LOOK_AGAIN
            await self._let_in_again()
            if event is not None:
                await self._look_at(list(self._tasks) if event.kind == "resync" else [event.job_id])

    async def look(self, job_id: uuid.UUID) -> View | None:
        view = await rows.get(self._caller, str(job_id), content=True)
        return None if view is None or view.forgotten else view

    async def _look_at(self, job_ids: list[uuid.UUID]) -> None:
        for job_id in job_ids:
            if job_id not in self._tasks:
                continue
            view = await self.look(job_id)
            if view is None:
                del self._tasks[job_id]
            else:
                await self._tell(view)

    async def _tell(self, view: View) -> None:
        """Tell of the task unless this was told already; one that has ended is told of for the last time."""
        task = task_shapes.detailed(view, self._version, self._caller.tenant_slug)
        if task != self._tasks.get(view.id):
            self._tasks[view.id] = task
            await self._send("notifications/tasks", task)
        if view.ended:
            del self._tasks[view.id]

    async def _let_in_again(self) -> None:
        """As whom the caller stands now; tells of tools where that, or the catalog, has changed what they see."""
        found = await tasks.let_in_again(self._visit)
        self._caller = found.caller
        if self._tools:
            offered = await catalog(found.tenant_id, found.catalog_version)
            listed = server.listed(self._visit.anew(found.caller, offered), self._version)
            if listed != self._tools:
                self._tools = listed
                await self._send(_CHANGED, {})

    async def _send(self, method: str, params: Mapping[str, Any]) -> None:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if meta := {**params.get("_meta", {}), **self.meta}:
            params = {**params, "_meta": meta}
        await self._visit.notify({**message, "params": params} if params else message)
