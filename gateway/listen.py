"""subscriptions/listen (2026-07-28): one stream that tells a host what changed, so that it does not have to ask.

It carries changes of the tenant's list of tools, and of tasks (SEP-2663, `taskIds`). Nothing is polled: a stream costs
a future on this process's one listener, and looks at rows when it hears that there is something to see.
"""

import time
import uuid
from collections.abc import Mapping
from typing import Any

from access.head import Head
from gateway import lists, server, task_shapes, tasks, wire
from gateway.errors import INVALID_PARAMS, INVALID_REQUEST, Fault
from gateway.visit import Visit
from jobs import queries, rows
from jobs.values import View
from lib import events
from tools.catalog import catalog

METHOD = "subscriptions/listen"
MOST_TASKS = 100
"""Tasks that one stream follows; what is asked beyond that is not among the acknowledged."""
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


def check_stream(method: str, head: Head) -> None:
    """Raise the Fault (406) for a client that would listen and takes no stream."""
    if method == METHOD and not head.streaming:
        raise Fault(code=INVALID_REQUEST, message="Listening needs `Accept: text/event-stream`.", status=406)


async def listen(visit: Visit, era: wire.Era, message: Mapping[str, Any]) -> dict[str, Any]:
    """Acknowledge what will be told, then tell it, until the client goes or nothing is left to tell."""
    asked = message["params"].get("notifications")
    if not isinstance(asked, dict):
        raise Fault(code=INVALID_PARAMS, message="notifications must be an object.")
    stream = _Stream(visit, era, message["id"])
    job_ids = _task_ids(asked.get("taskIds"), era)
    tasks.look(visit.caller, max(1, len(job_ids)))
    watched = {*job_ids} | ({events.NO_JOB} if asked.get("toolsListChanged") is True else set())
    with tasks.wait(visit.caller):
        async with events.watch(visit.caller.tenant_id, *watched) as news:
            views = [view for job_id in job_ids if (view := await stream.look(job_id)) is not None]
            await stream.acknowledge(tools=events.NO_JOB in watched, tasks=views if "taskIds" in asked else None)
            await stream.follow(news)
    return {"resultType": "complete", "_meta": stream.meta}


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

    def __init__(self, visit: Visit, era: wire.Era, request_id: Any) -> None:
        self._visit = visit
        self._caller = visit.caller
        self._version = era.version
        self._tools = b""
        self._tasks: dict[uuid.UUID, dict[str, Any]] = {}
        self.meta = {_SUBSCRIPTION: request_id}

    async def acknowledge(self, *, tools: bool, tasks: list[View] | None) -> None:
        """What is honoured, which must be the first frame; then how each task stands now, as it may have moved on
        since its id was given."""
        honoured: dict[str, Any] = {"toolsListChanged": True} if tools else {}
        if tools:
            self._tools = self._listed(self._visit)
        if tasks is not None:
            honoured["taskIds"] = [str(view.id) for view in tasks]
        await self._send("notifications/subscriptions/acknowledged", {"notifications": honoured})
        for view in tasks or ():
            await self._tell(view)

    async def follow(self, news: events.Events) -> None:
        """Tell what is new for as long as there is something to listen to.

        The credential is looked at before anything is told, and every minute.
        """
        due = time.monotonic() + tasks.LOOK_AGAIN
        while self._tools or self._tasks:
            event = await news.get(max(0.0, due - time.monotonic()))
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
            listed = self._listed(self._visit.anew(found.caller, offered))
            if listed != self._tools:
                self._tools = listed
                await self._send("notifications/tools/list_changed", {})

    def _listed(self, visit: Visit) -> bytes:
        return lists.rendered(visit, self._version, server.identity(visit.catalog))

    async def _send(self, method: str, params: Mapping[str, Any]) -> None:
        params = {**params, "_meta": {**params.get("_meta", {}), **self.meta}}
        await self._visit.notify({"jsonrpc": "2.0", "method": method, "params": params})
