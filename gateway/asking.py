"""Asking before a call begins (2026-07-28, basic/patterns, multi round-trip requests).

A tool whose function has a preflight may need answers first, and a call may need the yes of the person it works for.
Then it is answered with `input_required`, and the host sends it again with the answers and with `requestState` (see
`gateway.rounds`).
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

from audit import entries
from gateway import rounds, translate
from gateway.errors import INVALID_PARAMS, Fault
from gateway.rounds import Bound, Round
from gateway.task_shapes import elicitation
from gateway.visit import Visit
from jobs import calls as jobs
from jobs import confirming
from jobs.intent import fits_a_message, intent_of, message
from jobs.values import Answer, Follow
from policy.values import Effect, Refusal
from tools import calls, functions, pins, preflight
from tools.catalog import LiveTool
from tools.values import Origin, Question, Reply, Report

CONFIRM: Final = "confirm"
"""The key of the one question that the hub itself asks."""
_NO_FIELDS: Final = {"type": "object", "properties": {}}
"""Hosts show their own buttons for yes and no; a box to tick would only be a second yes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The answer to a call that needs answers itself."""

    result: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """One request that may have to ask: who came, with which params, and what their client shows."""

    visit: Visit
    params: Mapping[str, Any]
    capabilities: Any
    origin: Origin
    report: Report
    follow: Follow

    @property
    def shows_forms(self) -> bool:
        """A bare `elicitation` means that it does (client/elicitation)."""
        asks = self._elicitation
        return asks is not None and (not asks or "form" in asks)

    @property
    def opens_links(self) -> bool:
        return "url" in (self._elicitation or ())

    @property
    def _elicitation(self) -> Mapping[str, Any] | None:
        """What the host can put to its person. A client that acts by credentials of its own has none, whatever it
        says: its yes would be the program's."""
        if self.visit.caller.credential.startswith("client:"):
            return None
        asks = self.capabilities.get("elicitation") if isinstance(self.capabilities, Mapping) else None
        return asks if isinstance(asks, Mapping) else None

    def bound(self, *, arguments: bool) -> Bound:
        """What a state of this request is good for. arguments: for these as the host sent them and no others."""
        caller, params = self.visit.caller, self.params
        sent = entries.digest(params.get("arguments") or {}) if arguments else ""
        return [caller.tenant_id, caller.member_id, caller.credential, params["name"], sent]


def check_of(tool: LiveTool | None) -> preflight.Check | None:
    """The preflight of a tool that has one."""
    if tool is None or tool.kind != "function":
        return None
    known = functions.load().get(tool.config.function)
    return known.preflight if known is not None else None


async def call(asking: Asking, check: preflight.Check | None) -> Answer | Asked:
    """A call that may ask first or become a job: what has to be asked, or else what the call came to.

    Each round is judged, charged once and recorded before it begins, as every call is; a call that would be refused
    anyway is not asked about, and its answers are not used up.
    """
    params, check = asking.params, check if asking.shows_forms else None
    ready = await jobs.prepare(
        asking.visit.caller,
        params["name"],
        params.get("arguments") or {},
        catalog=asking.visit.catalog,
        origin=asking.origin,
        follow=asking.follow,
        partial=check is not None,
    )
    if isinstance(ready, calls.Ready) and check is not None:
        return await _completed(asking, ready, check)
    return await _gone_on(asking, ready, asking.bound(arguments=False), None)


async def pending(asking: Asking, waits: calls.Pending) -> Answer | Asked:
    """A call that a person has to say yes to first, of a tool that asks nothing itself."""
    return await _gone_on(asking, waits, asking.bound(arguments=False), None)


async def _completed(asking: Asking, ready: calls.Ready, check: preflight.Check) -> Answer | Asked:
    """The round of a preflight. Its answers are kept in the state with which a yes is asked for."""
    bound = asking.bound(arguments=True)
    earlier = rounds.read(bound, asking.params)
    if isinstance(earlier, Refusal):
        raise await _fault(ready, earlier)
    counted = await calls.count(ready) if earlier is rounds.FIRST else replace(ready, counted=True)
    if isinstance(counted, Refusal):
        return counted
    replies = dict(earlier.kept)
    if not earlier.confirms:
        if earlier is not rounds.FIRST and not await earlier.spend():
            raise await _fault(ready, rounds.stale())
        replies |= rounds.replies(asking.params, earlier.asked)
        earlier = Round(kept=replies)
    found = await calls.complete(counted, check, replies)
    if isinstance(found, calls.Asked):
        return _asked(found.questions, rounds.sealed(bound, Round(asked=[*found.questions], kept=replies)))
    if isinstance(found, calls.Ready | calls.Pending):
        return await _gone_on(asking, found, bound, earlier)
    return found


async def _gone_on(
    asking: Asking, found: calls.Ready | calls.Pending | Refusal, bound: Bound, earlier: Round | None
) -> Answer | Asked:
    """What was judged: run, or refused, or asked about in the way that its host can. earlier: None where it has not
    been read yet."""
    if isinstance(found, Refusal):
        return found
    if isinstance(found, calls.Pending) and found.decision.effect is Effect.CONFIRM:
        if asking.shows_forms and _suits_a_form(found.ready):
            return await _by_form(asking, found, bound, earlier)
        if asking.opens_links:
            return await _by_link(asking, found)
    if (refused := await _answered_with_no(asking, found, bound, earlier)) is not None:
        return refused
    if isinstance(found, calls.Ready):
        return await jobs.start(found, report=asking.report, follow=asking.follow)
    return await jobs.wait_for_yes(found, report=asking.report, follow=asking.follow)


async def _answered_with_no(
    asking: Asking, found: calls.Ready | calls.Pending, bound: Bound, earlier: Round | None
) -> Refusal | None:
    """The no to a question that is not put to this host any more, as the rules were changed meanwhile: it stays one.
    The state of such a question is used up all the same."""
    known = rounds.read(bound, asking.params) if earlier is None else earlier
    if earlier is not None and not earlier.confirms:
        return None  # what was answered is the preflight's
    ready = found if isinstance(found, calls.Ready) else found.ready
    reply = rounds.replies(asking.params, [CONFIRM]).get(CONFIRM)
    with ExitStack() as ended:
        ended.callback(ready.charged.settle, 0)
        if isinstance(known, Round) and known.confirms and not await known.spend():
            raise await _fault(ready, rounds.stale())
        if reply is not None and reply.action != "accept":
            return await calls.refuse(ready, confirming.said_no(ready.tool.name))
        ended.pop_all()
    return None


def _suits_a_form(ready: calls.Ready) -> bool:
    """Whether the host's word is taken for its person's: where it can show all of it, and the tool can do no more than
    that person agreed to on a page of ours when they let this host in."""
    return fits_a_message(intent_of(ready)) and not pins.gained(ready.caller, ready.tool)


async def _by_form(asking: Asking, waits: calls.Pending, bound: Bound, earlier: Round | None) -> Answer | Asked:
    """Ask, or run what was answered with yes. A yes to anything else than this very call is none."""
    ready = waits.ready
    known = rounds.read(bound, asking.params) if earlier is None else earlier
    if isinstance(known, Refusal):
        raise await _fault(ready, known)
    if known.confirms and not await known.spend():
        raise await _fault(ready, rounds.stale())
    reply = rounds.replies(asking.params, [CONFIRM]).get(CONFIRM) if known.confirms else None
    if reply is not None and reply.action == "accept" and known.confirms == confirming.bound_to(ready):
        return await jobs.run_confirmed(waits, known.give_back, report=asking.report, follow=asking.follow)
    if reply is not None and reply.action != "accept":
        return await calls.refuse(ready, confirming.said_no(ready.tool.name))
    if isinstance(counted := await calls.count(ready), Refusal):
        return counted
    await confirming.record_asked(ready, confirming.BY_FORM)
    question = Question(message=message(intent_of(ready, waits.decision.message)), schema=_NO_FIELDS)
    state = rounds.sealed(bound, Round(kept=known.kept, confirms=confirming.bound_to(ready)))
    return _asked({CONFIRM: question}, state)


async def _by_link(asking: Asking, waits: calls.Pending) -> Answer | Asked:
    """Have the host open our page, where the answer is given; that it was opened is no answer."""
    ready = waits.ready
    found = await confirming.claim(waits, confirming.BY_LINK)
    if isinstance(found, confirming.Yes):
        return await jobs.run_confirmed(waits, found.give_back, report=asking.report, follow=asking.follow)
    if isinstance(found, Refusal):
        return found
    reply: Reply | None = rounds.replies(asking.params, [CONFIRM]).get(CONFIRM)
    if reply is not None and reply.action != "accept":
        return await calls.refuse(ready, confirming.said_no(ready.tool.name))
    if reply is not None:
        return confirming.needed(found, ready.tool.name)
    told = f"{ready.tool.name} is about to run for you. Open this page of the hub to see with what, and say yes or no."
    request = {"method": "elicitation/create", "params": {"mode": "url", "message": told, "url": found.link}}
    return Asked(result={"resultType": "input_required", "inputRequests": {CONFIRM: request}})


def _asked(questions: Mapping[str, Question], state: str) -> Asked:
    requests = {
        key: elicitation({"message": one.message, "requestedSchema": dict(one.schema)})
        for key, one in questions.items()
    }
    return Asked(result={"resultType": "input_required", "inputRequests": requests, "requestState": state})


async def _fault(ready: calls.Ready, refusal: Refusal) -> Fault:
    """A round that is refused as a message, once that is recorded."""
    await calls.refuse(ready, refusal)
    return translate.fault(refusal, INVALID_PARAMS)
