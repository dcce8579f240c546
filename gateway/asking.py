"""Asking before a call begins (2026-07-28, basic/patterns, multi round-trip requests).

A tool whose function has a preflight may need answers first. Then the call is answered with `input_required`, and the
host sends it again with the answers and with `requestState`, which is all that is remembered of the first round. It
goes through the host's hands, so it is sealed, bound to who asked, for what and until when, and taken once.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from access.clients import throttle
from audit import entries
from audit.models import Event, Outcome
from audit.writer import writer
from gateway.errors import INVALID_PARAMS, Fault
from gateway.task_shapes import elicitation
from gateway.visit import Visit
from lib import seal
from lib.ids import uuid7
from policy.decide import Refusal, decide, visible
from tools import calls, functions, preflight
from tools.catalog import LiveTool
from tools.values import Origin, Question, Reply

PATIENCE = 600.0
"""Seconds in which a question must be answered."""
MOST_STATE = 64 * 1024
"""Characters of `requestState` that are looked at."""
_ACTIONS = ("accept", "decline", "cancel")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The answer to a call that needs answers itself."""

    result: dict[str, Any]


def check_of(tool: LiveTool | None) -> preflight.Check | None:
    """The preflight of a tool that has one."""
    if tool is None or tool.kind != "function":
        return None
    known = functions.load().get(tool.config.function)
    return known.preflight if known is not None else None


def can_be_asked(capabilities: Any) -> bool:
    """Whether a client says that it shows forms; a bare `elicitation` means that it does (client/elicitation)."""
    asks = capabilities.get("elicitation") if isinstance(capabilities, Mapping) else None
    return isinstance(asks, Mapping) and (not asks or "form" in asks)


async def complete(
    visit: Visit,
    tool: LiveTool,
    check: preflight.Check,
    params: Mapping[str, Any],
    origin: Origin,
) -> dict[str, Any] | Asked | Refusal:
    """The call's arguments with what the person added, or what has to be asked first.

    A question is charged and recorded like any call; a call that would be refused anyway is not asked about.
    """
    caller, arguments = visit.caller, params.get("arguments") or {}
    if not visible(caller, tool.subject) or decide(caller, tool.subject) is not None:
        return arguments
    bound = [caller.tenant_id, caller.member_id, caller.credential, tool.name, entries.digest(arguments)]
    replies = await _replies(bound, params)
    try:
        return await preflight.complete(check, arguments, caller, replies)
    except preflight.Unanswered as unanswered:
        questions = unanswered.questions
    ready = await calls.prepare(caller, tool.name, arguments, catalog=visit.catalog, origin=origin)
    if isinstance(ready, Refusal):
        return ready
    await writer().write(calls.row(ready, Event.REFUSED, outcome=Outcome.REFUSED, reason="input_required"))
    return Asked(result=_asked(questions, _state(bound, questions, replies)))


def _asked(questions: Mapping[str, Question], state: str) -> dict[str, Any]:
    requests = {
        key: elicitation({"message": one.message, "requestedSchema": dict(one.schema)})
        for key, one in questions.items()
    }
    return {"resultType": "input_required", "inputRequests": requests, "requestState": state}


def _state(bound: list[Any], questions: Mapping[str, Question], replies: Mapping[str, Reply]) -> str:
    """What the next round has to know: what was asked, and what was answered in earlier rounds."""
    kept = {key: [one.action, dict(one.content)] for key, one in replies.items()}
    known = {"id": str(uuid7()), "for": bound, "until": time.time() + PATIENCE, "asked": [*questions], "kept": kept}
    return seal.seal(orjson.dumps(known).decode()).decode()


async def _replies(bound: list[Any], params: Mapping[str, Any]) -> dict[str, Reply]:
    """The answers of this round to what was asked, and those of earlier ones. None without a state of ours."""
    if (given := params.get("requestState")) is None:
        return {}
    known = _opened(given)
    if known is None or known["for"] != bound or known["until"] < time.time():
        raise _stale()
    if not await throttle.spend(f"state:{known['id']}", span=PATIENCE):
        raise _stale()
    kept = {key: Reply(action=action, content=content) for key, (action, content) in known["kept"].items()}
    return kept | _read(params.get("inputResponses"), known["asked"])


def _opened(state: Any) -> Any:
    if not isinstance(state, str) or len(state) > MOST_STATE:
        return None
    try:
        return orjson.loads(seal.unseal(state.encode()))
    except (seal.SealError, ValueError):
        return None


def _stale() -> Fault:
    return Fault(
        code=INVALID_PARAMS,
        message="The requestState is not one of ours for this call, was used before or has run out. "
        "Call again without it.",
    )


def _read(responses: Any, asked: list[str]) -> dict[str, Reply]:
    """What answers a question that was asked; everything else is passed over, and what is missing is asked again."""
    if responses is None:
        return {}
    if not isinstance(responses, dict):
        raise Fault(code=INVALID_PARAMS, message="inputResponses must be an object.")
    return {key: reply for key in asked if (reply := _reply(responses.get(key))) is not None}


def _reply(response: Any) -> Reply | None:
    if not isinstance(response, dict) or response.get("action") not in _ACTIONS:
        return None
    content = {} if response.get("content") is None else response["content"]
    if not isinstance(content, dict):
        return None
    return Reply(action=response["action"], content=content if response["action"] == "accept" else {})
