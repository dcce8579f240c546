"""Running an ended job's call once more, as a new job of whoever asks for it."""

import datetime
from dataclasses import dataclass, replace
from typing import Any

from django.utils import timezone

from access.callers import caller_of
from jobs import calls
from jobs.models import Approval, Job
from jobs.readers import CREDENTIAL, Seen
from jobs.sealed import unseal_arguments
from jobs.values import Follow, Handle, View, may_stop
from policy.values import Agreed, Refusal
from tenants.caller import Caller
from tenants.models import Member
from tools.catalog import Catalog, LiveTool, catalog
from tools.values import Origin, Result

VIA = "portal"
_FOLLOWED = Follow(declared=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Again:
    """A call to be made once more: by whom, of what, with the arguments it had. Read in one transaction, so that none
    is held while it is made. since: when the job was accepted that this repeats."""

    caller: Caller
    version: int
    tool: str
    arguments: dict[str, Any]
    since: datetime.datetime


def may_repeat(seen: Seen) -> bool:
    """Whether this person may run it once more: who may stop it, as a member of the tenant, while it is remembered."""
    return seen.view.ended and not seen.view.forgotten and seen.member and may_stop(seen.caller, seen.view)


def read(seen: Seen) -> Again | None:
    """What to repeat, under the presser's own standing and nobody else's; None where `may_repeat` says no.

    Raises lib.seal.SealError when no key opens the arguments.
    """
    sealed = Job.objects.filter(pk=seen.view.id).values_list("arguments", flat=True).first()
    if not may_repeat(seen) or sealed is None:
        return None
    member = Member.objects.select_related("tenant", "user").get(pk=seen.caller.member_id)
    return Again(
        caller=caller_of(member, credential=CREDENTIAL, client=""),
        version=seen.tenant.catalog_version,
        tool=seen.view.tool,
        arguments=unseal_arguments(sealed),
        since=_accepted_at(seen.view),
    )


def _accepted_at(view: View) -> datetime.datetime:
    """From when on the same call joins it: for a held one, when it was released."""
    decided = Approval.objects.filter(job_id=view.id).values_list("decided_at", flat=True).first()
    return decided or view.created_at


async def run(again: Again, *, address: str) -> View | Refusal:
    """Make the call as any other: validated, decided, charged, recorded. The job it became, or why not.

    Raises LedgerUnavailable when nothing could be recorded and so nothing was run.
    """
    live = await catalog(again.caller.tenant_id, again.version)
    tool = live.tools.get(again.tool)
    if tool is not None and tool.lasting is None:
        return Refusal(reason="not_a_job", message=f"{again.tool} does not run as a job any more.")
    answer = await calls.run(
        again.caller,
        again.tool,
        again.arguments,
        catalog=live if tool is None else _with(live, _not_joining(tool, again.since)),
        origin=Origin(via=VIA, address=address),
        follow=_FOLLOWED,
        agreed=Agreed(confirmed=True),  # by whoever pressed the button
    )
    match answer:
        case Handle():
            return answer.view
        case Refusal():
            return answer
        case Result():  # nothing that follows gets one
            raise TypeError(f"{again.tool} gave a result where a job was asked for")


def _not_joining(tool: LiveTool, since: datetime.datetime) -> LiveTool:
    """The tool with a window in which the job that is repeated does not lie: to join it would be to do nothing. A
    second press still joins what the first one started."""
    assert tool.lasting is not None  # noqa: S101 - asked before
    age = (timezone.now() - since).total_seconds()
    return replace(tool, lasting=replace(tool.lasting, replay=max(0.0, min(tool.lasting.replay, age - 1.0))))


def _with(live: Catalog, tool: LiveTool) -> Catalog:
    return replace(live, tools={**live.tools, tool.name: tool}, renderings={})
