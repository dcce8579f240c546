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
from gateway.errors import INVALID_PARAMS, Fault
from gateway.task_shapes import elicitation
from gateway.visit import Visit
from jobs import calls as jobs
from jobs.values import Answer, Follow
from lib import seal
from lib.ids import uuid7
from policy.decide import Refusal
from tools import calls, functions, preflight
from tools.catalog import LiveTool
from tools.values import Origin, Question, Reply, Report

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


async def call(
    visit: Visit, check: preflight.Check, params: Mapping[str, Any], *, origin: Origin, report: Report, follow: Follow
) -> Answer | Asked:
    """A call of a tool that has a preflight: what has to be asked first, or else what the call came to.

    Each round is judged, charged once and recorded before it begins, as every call is; a call that would be refused
    anyway is not asked about, and its answers are not used up.
    """
    caller, name, arguments = visit.caller, params["name"], params.get("arguments") or {}
    ready = await jobs.prepare(
        caller, name, arguments, catalog=visit.catalog, origin=origin, follow=follow, partial=True
    )
    if isinstance(ready, Refusal):
        return ready
    bound = [caller.tenant_id, caller.member_id, caller.credential, name, entries.digest(arguments)]
    replies = await _replies(bound, params)
    if isinstance(replies, Refusal):
        await calls.refuse(ready, replies)
        raise Fault(code=INVALID_PARAMS, message=replies.message)
    found = await calls.complete(ready, check, replies)
    if isinstance(found, calls.Asked):
        return Asked(result=_asked(found.questions, _state(bound, found.questions, replies)))
    return await jobs.start(found, report=report, follow=follow) if isinstance(found, calls.Ready) else found


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


async def _replies(bound: list[Any], params: Mapping[str, Any]) -> dict[str, Reply] | Refusal:
    """The answers of this round to what was asked, and those of earlier ones. None without a state of ours."""
    if (given := params.get("requestState")) is None:
        return {}
    responses = params.get("inputResponses")
    if responses is not None and not isinstance(responses, dict):
        return Refusal(reason="invalid_answer", message="inputResponses must be an object.")
    known = _opened(given)
    if known is None or known["for"] != bound or known["until"] < time.time():
        return _stale()
    if not await throttle.spend(f"state:{known['id']}", span=PATIENCE):
        return _stale()
    kept = {key: Reply(action=action, content=content) for key, (action, content) in known["kept"].items()}
    return kept | _read(responses or {}, known["asked"])


def _opened(state: Any) -> Any:
    if not isinstance(state, str) or len(state) > MOST_STATE:
        return None
    try:
        return orjson.loads(seal.unseal(state.encode()))
    except (seal.SealError, ValueError):
        return None


def _stale() -> Refusal:
    return Refusal(
        reason="invalid_answer",
        message="The requestState is not one of ours for this call, was used before or has run out. "
        "Call again without it.",
    )


def _read(responses: Mapping[str, Any], asked: list[str]) -> dict[str, Reply]:
    """What answers a question that was asked; everything else is passed over, and what is missing is asked again."""
    return {key: reply for key in asked if (reply := _reply(responses.get(key))) is not None}


def _reply(response: Any) -> Reply | None:
    if not isinstance(response, dict) or response.get("action") not in _ACTIONS:
        return None
    content = {} if response.get("content") is None else response["content"]
    if not isinstance(content, dict):
        return None
    return Reply(action=response["action"], content=content if response["action"] == "accept" else {})
