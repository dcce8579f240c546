"""Jobs as the protocol's tasks: pure functions from a View to the wire.

Two shapes that are not compatible with each other. 2026-07-28 has tasks as an extension (SEP-2663): flat, the end
inlined, `ttlMs`. 2025-11-25 has them in its core (basic/utilities/tasks): nested in the answer to tools/call, the end
behind `tasks/result`, `ttl`. A host that knows neither gets a result that says what to do.
"""

import datetime
from collections.abc import Mapping
from typing import Any

from mcp_types import MISSING_REQUIRED_CLIENT_CAPABILITY

from gateway import translate
from gateway.errors import INTERNAL_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, Fault
from gateway.wire import HANDSHAKE
from jobs import words
from jobs.models import State
from jobs.values import Handle, View
from policy.values import Refusal
from tools.catalog import LiveTool
from tools.values import Result, Text

EXTENSION = "io.modelcontextprotocol/tasks"
RELATED = "io.modelcontextprotocol/related-task"
CORE = "2025-11-25"
"""The one revision that has tasks in its core."""

_SILENT = frozenset({State.CANCELLED, State.INTERRUPTED, State.EXPIRED})
"""Ends without a result: what there is to say is why."""


def declared(capabilities: Any) -> bool:
    """Whether a client's capabilities, as its request states them, include the tasks extension."""
    extensions = capabilities.get("extensions") if isinstance(capabilities, Mapping) else None
    return isinstance(extensions, Mapping) and EXTENSION in extensions


def missing(message: str) -> Fault:
    """For what needs the extension where the request does not declare it (2026-07-28, -32021)."""
    return Fault(
        code=MISSING_REQUIRED_CLIENT_CAPABILITY,
        message=message,
        data={"requiredCapabilities": {"extensions": {EXTENSION: {}}}},
    )


def refusal(refused: Refusal, version: str) -> dict[str, Any]:
    """A refusal; where the host must be able to follow a task and is not, with the error its revision has for that."""
    if refused.reason == "capability_missing" and version not in HANDSHAKE:
        raise missing(refused.message)
    if refused.reason == "capability_missing" and version == CORE:
        raise translate.fault(refused, METHOD_NOT_FOUND)
    return translate.refusal(refused, version)


def created(view: View) -> dict[str, Any]:
    """The CreateTaskResult of the extension: the state alone, never content."""
    return {"resultType": "task", **_flat(view, _status(view))}


def detailed(view: View, version: str, slug: str) -> dict[str, Any]:
    """The extension's DetailedTask: with its result, its error or its open questions; or with the refusal by which it
    did not run. slug: of its tenant."""
    status = _status(view)
    task = _flat(view, status)
    if status == "completed" and view.result is not None:
        task["result"] = translate.result(view.result, version)
    elif status == "failed":
        task["error"] = failure(view)
    elif status == "input_required":
        task["inputRequests"] = {key: elicitation(asked) for key, asked in view.asked.items()}
    elif refused := words.refusal_of(view, slug):
        task["_meta"] = {translate.REFUSAL: translate.shape(refused)}
    return task


def core(view: View) -> dict[str, Any]:
    """The Task of 2025-11-25. There a tool's own error is a failed task, and who cancels it sees that at once."""
    status = "cancelled" if view.cancelling else _core_status(view)
    return {**_task(view, status), "ttl": _kept_for(view), "pollInterval": view.poll_ms}


def payload(view: View, version: str, slug: str) -> dict[str, Any]:
    """What tools/call would have answered (2025-11-25, tasks/result); a Fault where that was an error."""
    if view.cancelling or view.state == State.CANCELLED:
        why = words.why_nothing(view) if view.state == State.CANCELLED else "The task was cancelled."
        ended = words.refusal_of(view, slug) or Refusal(reason=view.reason or "cancelled", message=why)
        raise translate.fault(ended, INVALID_REQUEST)
    if view.result is None:
        raise Fault(**failure(view))
    result = translate.result(view.result, version)
    return {**result, "_meta": {**result.get("_meta", {}), **related(view)}}


def related(view: View) -> dict[str, Any]:
    return {RELATED: {"taskId": str(view.id)}}


def elicitation(asked: Mapping[str, Any]) -> dict[str, Any]:
    """An open question as the request that the client answers (2026-07-28, client/elicitation, form mode)."""
    params = {"mode": "form", "message": asked["message"], "requestedSchema": asked["requestedSchema"]}
    return {"method": "elicitation/create", "params": params}


def told(handle: Handle, tool: LiveTool | None, version: str) -> dict[str, Any]:
    """The same for a host that follows no tasks: a result that tells a model how it gets there."""
    promised = tool is not None and tool.output is not None
    answer = translate.result(words.handed_over(handle, structured=not promised), version)
    return {**answer, "_meta": {"mcphub/job": words.facts(handle.view)}}


def failure(view: View) -> dict[str, Any]:
    """The JSON-RPC error of a job that ended without a result of its tool's."""
    if view.result is not None:
        message, reason = _text_of(view.result), view.result.reason
    else:
        message, reason = words.why_nothing(view), view.reason
    return {"code": INTERNAL_ERROR, "message": message, "data": {"reason": reason or view.state.value}}


def _flat(view: View, status: str) -> dict[str, Any]:
    return {**_task(view, status), "ttlMs": _kept_for(view), "pollIntervalMs": view.poll_ms}


def _task(view: View, status: str) -> dict[str, Any]:
    """What both have of a task."""
    return {
        "taskId": str(view.id),
        "status": status,
        "statusMessage": _said(view),
        "createdAt": _moment(view.created_at),
        "lastUpdatedAt": _moment(view.changed_at),
    }


def _status(view: View) -> str:
    """A tool's own error is `completed`, with the error inside; `failed` is what the hub could not do."""
    if view.state == State.FAILED:
        of_the_hub = view.result is None or view.result.reason == "internal_error"
        return "failed" if of_the_hub else "completed"
    return _core_status(view)


def _core_status(view: View) -> str:
    match view.state:
        case State.INPUT:
            return "input_required"
        case State.SUCCEEDED:
            return "completed"
        case State.CANCELLED:
            return "cancelled"
        case State.FAILED | State.INTERRUPTED | State.EXPIRED:
            return "failed"
        case _:
            return "working"


def _said(view: View) -> str:
    return words.why_nothing(view) if view.state in _SILENT else words.standing(view)


def _text_of(result: Result) -> str:
    return " ".join(block.text for block in result.content if isinstance(block, Text)) or "Internal error"


def _kept_for(view: View) -> int:
    """Milliseconds from its creation until it is dropped. While it runs: if it ended now."""
    until = view.expires_at or view.changed_at + datetime.timedelta(seconds=view.keep)
    return max(1, int((until - view.created_at).total_seconds() * 1000))


def _moment(at: datetime.datetime) -> str:
    return at.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
