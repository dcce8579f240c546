"""Following jobs as tasks: the `tasks/*` methods of both revisions that have them.

The SDK knows the words and does nothing with them, so these are dispatched beside it. Every one of them is decided anew
for whoever asks: an id that is unknown, foreign or malformed is answered alike.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from django.core import signing

from access import challenge
from access.admit import admit
from gateway import task_shapes, translate, wire
from gateway.errors import INVALID_PARAMS, INVALID_REQUEST, TOO_MUCH, Fault
from gateway.reporter import Reporter
from gateway.task_shapes import CORE, EXTENSION
from gateway.visit import Visit
from jobs import following, queries, rows
from jobs.models import State
from jobs.values import View
from lib import events
from tenants.caller import Caller

Handler = Callable[[Visit, wire.Era, Mapping[str, Any]], Awaitable[dict[str, Any]]]

NAMED: Final = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})
"""Methods of the extension whose `Mcp-Name` header is the task's id (SEP-2663, SEP-2243)."""
PAGE = 50
LOOK_AGAIN = 60.0
"""Seconds after which whoever waits is let in anew whatever is heard; they are before a state or result is shown."""
_SALT = "gateway.tasks"


def handler(era: wire.Era, method: str) -> Handler | None:
    """What answers this method in this revision; None where the revision does not have it."""
    if era.modern:
        return _EXTENSION.get(method)
    return _CORE.get(method) if era.version == CORE else None


def check_name(method: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Raise the Fault (-32020) when a request names another task in its header than in its body."""
    if method in NAMED and isinstance(params.get("taskId"), str):
        wire.check_name(params["taskId"], headers)


def look(caller: Caller, tasks: int = 1) -> None:
    """Count a look at so many tasks, before any is looked at; the Fault (429) when it is one too many."""
    refused = following.look(caller, tasks)
    if refused is not None:
        raise translate.fault(refused, TOO_MUCH, 429)


@contextmanager
def wait(caller: Caller, sort: following.Sort = "jobs") -> Iterator[None]:
    """One more request of the caller's that waits, until the end of the block; the Fault (429) when it is too many."""
    with following.wait(caller, sort) as refused:
        if refused is not None:
            raise translate.fault(refused, TOO_MUCH, 429)
        yield


@dataclass(frozen=True, kw_only=True, slots=True)
class LetIn:
    """Who waits, as they stand now, and the version of what their tenant offers."""

    tenant_id: int
    catalog_version: int
    caller: Caller


async def let_in_again(visit: Visit) -> LetIn:
    """Who asked, as of now; a Fault when the credential no longer opens this tenant's door to the same member."""
    found = await admit(visit.caller.tenant_slug, visit.secret(), address=visit.address)
    if found is None or found.caller is None or found.caller.member_id != visit.caller.member_id:
        challenged = challenge.unauthorized(visit.caller.tenant_slug, visit.caller.scopes, presented=True)
        raise Fault(
            code=INVALID_REQUEST,
            message="The credential is not valid here any more.",
            status=401,
            headers={"WWW-Authenticate": challenged},
        )
    return LetIn(tenant_id=found.tenant_id, catalog_version=found.catalog_version, caller=found.caller)


def _unknown() -> Fault:
    return Fault(code=INVALID_PARAMS, message="There is no such task.")


def _id_of(params: Mapping[str, Any]) -> str:
    task_id = params.get("taskId")
    if not isinstance(task_id, str):
        raise Fault(code=INVALID_PARAMS, message="taskId must be a string.")
    return task_id


async def _seen(caller: Caller, task_id: str, *, content: bool = False) -> View:
    view = await rows.get(caller, task_id, content=content)
    if view is None or view.forgotten:
        raise _unknown()
    return view


async def _get(visit: Visit, era: wire.Era, params: Mapping[str, Any]) -> dict[str, Any]:
    view = await _seen(visit.caller, _id_of(params), content=True)
    return {"resultType": "complete", **task_shapes.detailed(view, era.version, visit.caller.tenant_slug)}


async def _update(visit: Visit, era: wire.Era, params: Mapping[str, Any]) -> dict[str, Any]:
    """Acknowledged whatever the answers are: those that fit no open question are passed over."""
    task_id, responses = _id_of(params), params.get("inputResponses")
    if not isinstance(responses, dict):
        raise Fault(code=INVALID_PARAMS, message="inputResponses must be an object.")
    if await rows.answer(visit.caller, task_id, responses) is None:
        raise _unknown()
    return {"resultType": "complete"}


async def _cancel(visit: Visit, era: wire.Era, params: Mapping[str, Any]) -> dict[str, Any]:
    if await rows.cancel(visit.caller, _id_of(params)) is None:
        raise _unknown()
    return {"resultType": "complete"}


def _of_extension(answer: Handler) -> Handler:
    """Answered only where this very request declares the extension, before anything is looked up."""

    async def checked(visit: Visit, era: wire.Era, params: Mapping[str, Any]) -> dict[str, Any]:
        if not task_shapes.declared(era.capabilities):
            raise task_shapes.missing(f"This needs a client that declares the extension {EXTENSION}.")
        return await answer(visit, era, params)

    return checked


async def _core_get(visit: Visit, era: wire.Era, params: Mapping[str, Any]) -> dict[str, Any]:
    return task_shapes.core(await _seen(visit.caller, _id_of(params)))


async def _core_cancel(visit: Visit, era: wire.Era, params: Mapping[str, Any]) -> dict[str, Any]:
    """The task as cancelled. One that has ended, or is cancelled already, is an error there."""
    view = await _seen(visit.caller, _id_of(params))
    if not view.ended and not view.cancelling:
        cancelled = await rows.cancel(visit.caller, str(view.id))
        if cancelled is None:
            raise _unknown()
        if not cancelled.ended or cancelled.state == State.CANCELLED:
            return {**task_shapes.core(cancelled), "status": "cancelled"}
    raise Fault(code=INVALID_PARAMS, message="The task has ended and cannot be cancelled.")


async def _core_list(visit: Visit, era: wire.Era, params: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's own, newest first."""
    found = await rows.listing(visit.caller, after=_after(visit, params.get("cursor")), limit=PAGE + 1)
    result: dict[str, Any] = {"tasks": [task_shapes.core(view) for view in found[:PAGE] if not view.forgotten]}
    if len(found) > PAGE:
        last = str(found[PAGE - 1].id)
        result["nextCursor"] = signing.dumps([visit.caller.tenant_id, visit.caller.member_id, last], salt=_SALT)
    return result


def _after(visit: Visit, cursor: Any) -> str | None:
    if cursor is None:
        return None
    try:
        *whose, last = signing.loads(cursor, salt=_SALT)
    except (signing.BadSignature, ValueError, TypeError, AttributeError):
        whose, last = [], None
    if whose != [visit.caller.tenant_id, visit.caller.member_id]:
        raise Fault(code=INVALID_PARAMS, message="The cursor is not one of ours; start again without one.")
    return str(last)


async def _core_result(visit: Visit, era: wire.Era, params: Mapping[str, Any]) -> dict[str, Any]:
    """What the call itself would have answered, once there is an answer; until then the request waits."""
    return task_shapes.payload(await _ended(visit, era, params), era.version, visit.caller.tenant_slug)


async def _ended(visit: Visit, era: wire.Era, params: Mapping[str, Any]) -> View:
    """The job once it has ended. It costs a look at its row at the beginning and one at the end, however long it is."""
    task_id, meta = _id_of(params), params.get("_meta") or {}
    if not isinstance(meta, dict):
        raise Fault(code=INVALID_PARAMS, message="_meta must be an object.")
    job_id = queries.parse_id(task_id)
    if job_id is None:
        raise _unknown()
    caller = visit.caller
    async with events.watch(caller.tenant_id, job_id) as news:
        view = await _seen(caller, task_id, content=True)
        if _over(view):
            return view
        report = Reporter(visit, era.version, meta, task_shapes.related(view))
        with wait(caller):
            while not _over(view):
                await _changed(news, report)
                caller = (await let_in_again(visit)).caller
                view = await _seen(caller, task_id, content=True)
    return view


def _over(view: View) -> bool:
    """Whether tasks/result has its answer: who cancels a task of 2025-11-25 sees it cancelled at once."""
    return view.ended or view.cancelling


async def _changed(news: events.Events, report: Reporter) -> None:
    """Wait until the row is worth another look, or who waits is, however much progress there is; pass progress on."""
    due = time.monotonic() + LOOK_AGAIN
    while (event := await news.get(max(0.0, due - time.monotonic()))) is not None and time.monotonic() < due:
        if event.kind == "progress" and event.progress is not None:
            await report.progress(event.progress, event.total, event.message or None)
        elif event.kind == "log":
            await report.log(event.level, event.message)
        else:
            return


_EXTENSION: Final[dict[str, Handler]] = {
    "tasks/get": _of_extension(_get),
    "tasks/update": _of_extension(_update),
    "tasks/cancel": _of_extension(_cancel),
}
_CORE: Final[dict[str, Handler]] = {
    "tasks/get": _core_get,
    "tasks/result": _core_result,
    "tasks/list": _core_list,
    "tasks/cancel": _core_cancel,
}
