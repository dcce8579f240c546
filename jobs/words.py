"""What a model is told of a job. Each text says what is so and what to do next. Pure."""

import math
from typing import Any

from jobs.models import State
from jobs.values import Handle, View
from policy.values import Refusal
from tenants import addresses
from tools.values import ABSENT, Result, Text

STATUS, RESULT, CANCEL = "get_job_status", "get_job_result", "cancel_job"
"""The hub's own tools, which these texts point to."""
LONGEST_WAIT = 25
"""Seconds that get_job_status waits at the most; some hosts give up after thirty."""
_MOST_PAUSE = 60.0
_NOT_RUN = {
    "approval_denied": "a reviewer denied it. Do not call it again for the same thing; tell the person.",
    "tool_changed": "the tool was changed after this call was made. Call it again, so that what it is now is approved.",
    "rules_changed": "the rules changed since it was called. Call it again, so that it is judged by those of now.",
    "denied": "a rule of this tenant does not allow it any more. Ask an admin of the tenant.",
}


def handed_over(handle: Handle, *, structured: bool) -> Result:
    """What a host that cannot follow tasks gets instead of a result. structured: not where the tool has an output
    schema, which this would not fit."""
    job = handle.view
    begins = "was asked for already and" if handle.joined else "takes a while and"
    if job.state == State.APPROVAL:
        return Result(content=(Text(text=_held(job)),), structured=facts(job) if structured else ABSENT)
    text = (
        f"{job.tool} {begins} runs as job {job.id} ({standing(job)}). This is not its result yet.\n"
        f"Call {STATUS} with this job_id: it waits up to {LONGEST_WAIT} s for you and gives the result when it is "
        f"there. Do not call {job.tool} again for the same thing: it would join this job. "
        f"To stop it, call {CANCEL}."
    )
    return Result(content=(Text(text=text),), structured=facts(job) if structured else ABSENT)


def _held(job: View) -> str:
    return (
        f"{job.tool} was not run yet: a second person has to approve this call first. It is held as job {job.id}, and "
        f"runs by itself as soon as somebody approves it. This is not its result.\n"
        f"Tell the person that it waits for approval. Call {STATUS} with this job_id to wait for it; it gives the "
        f"result when it is there. Do not call {job.tool} again for the same thing: it would join this job. "
        f"To withdraw it, call {CANCEL}."
    )


def status(job: View, slug: str) -> Result:
    """How a job stands. Once it has ended and its content was read, its result follows in the same answer."""
    head = f"Job {job.id} ({job.tool}): {standing(job)}."
    if not job.ended:
        return Result(content=(Text(text=f"{head}\n{_what_next(job)}"),), structured=facts(job))
    ended = result_of(job, slug)
    told = facts(job) if ended.structured is ABSENT else {**facts(job), "result": ended.structured}
    return Result(content=(Text(text=head, by_hub=True), *ended.content), structured=told, provenance=ended.provenance)


def stopped(job: View) -> Result:
    """What came of asking a job to stop."""
    if job.cancelling:
        text = f"Job {job.id} ({job.tool}) was told to stop. Call {STATUS} to see that it has."
    elif job.state == State.CANCELLED:
        text = f"Job {job.id} ({job.tool}) is cancelled."
    else:
        text = f"Job {job.id} ({job.tool}) had ended already: {standing(job)}. Nothing was changed."
    return Result.of_text(text)


def result_of(job: View, slug: str) -> Result:
    """What the tool gave, as it gave it, or in words why there is nothing. The job has ended, its content was read.
    slug: of its tenant."""
    if job.result is not None:
        return job.result
    refused = refusal_of(job, slug)
    return Result.of_error(refused.message if refused else why_nothing(job), job.reason or str(job.state))


def refusal_of(job: View, slug: str) -> Refusal | None:
    """What was decided against running it after it was accepted; None where it ended in any other way, or was tried
    before. slug: of its tenant."""
    if job.state is not State.CANCELLED or job.reason not in _NOT_RUN or job.attempts > 1:
        return None
    said = why_nothing(job)
    if job.reason != "denied":
        return Refusal(reason=job.reason, message=said)
    door = addresses.asking(slug, job.tool)
    return Refusal(reason=job.reason, message=f"{said} A person can ask for access at {door}", ask_at=door)


def why_nothing(job: View) -> str:
    """Why an ended job has no result, and whether it is safe to call its tool again."""
    if job.forgotten:
        return f"The result of job {job.id} is no longer kept. Call {job.tool} again if it is still needed."
    match job.state:
        case State.CANCELLED if job.reason == "standing_lost":
            return f"{job.tool} was not run to its end: its caller may no longer use it. Ask an admin of the tenant."
        case State.CANCELLED if job.reason == "destination_changed":
            return _not_run(
                job,
                "it leads elsewhere than when it was called. Call it again, so that where it leads now counts; if that "
                "ends the same way, ask an admin of the tenant to publish it anew.",
            )
        case State.CANCELLED if job.reason in _NOT_RUN:
            because = f" They said: {job.message}" if job.reason == "approval_denied" and job.message else ""
            return _not_run(job, f"{_NOT_RUN[job.reason]}{because}")
        case State.CANCELLED if job.reason == "killed":
            begun = "It may have taken partial effect." if job.attempts else "It was not run."
            return f"An admin stopped {job.tool}. {begun} Do not call it again; tell the person."
        case State.CANCELLED:
            begun = "It may have taken partial effect; check before calling again." if job.attempts else ""
            return f"Job {job.id} was cancelled. {begun}".strip()
        case State.INTERRUPTED:
            return (
                f"{job.tool} was interrupted: the process that ran it is gone. "
                "It may have taken effect; check before calling again."
            )
        case State.FAILED if job.reason == "never_begun":
            return (
                f"{job.tool} did not begin: each worker that took it died before. It had no effect. "
                "Tell an admin of this tenant."
            )
        case State.EXPIRED if job.reason == "approval_expired":
            return (
                f"{job.tool} was not run: nobody decided in time whether it may. "
                "Tell the person; calling it again asks the reviewers again."
            )
        case State.EXPIRED:
            return f"{job.tool} did not start in time and was not run. Call it again, perhaps later."
    said = (job.error or {}).get("message")
    return f"{said}" if said else f"{job.tool} failed inside the hub, job {job.id}; an admin can look it up."


def _not_run(job: View, because: str) -> str:
    """For what was decided against when an attempt was to begin; an earlier one may have run."""
    if job.attempts <= 1:
        return f"{job.tool} was not run: {because}"
    begun = "An earlier attempt may have taken effect; check before it is called again."
    return f"{job.tool} was not run again: {because} {begun}"


def facts(job: View) -> dict[str, Any]:
    """The same for programs."""
    told: dict[str, Any] = {"job_id": str(job.id), "tool": job.tool, "status": str(job.state)}
    if job.progress is not None:
        told |= {"progress": job.progress} | ({} if job.total is None else {"total": job.total})
    if job.message:
        told["message"] = job.message
    if job.place is not None:
        told["jobs_ahead"] = job.place
    if job.reason:
        told["reason"] = job.reason
    return told if job.ended else {**told, "check_after_seconds": check_after(job)}


def standing(job: View) -> str:
    """In a few words: its state, its place in the queue, how far it is."""
    if job.state == State.QUEUED:
        ahead = f", {job.place} of this tenant's jobs go first" if job.place else ", next in its queue"
        return f"waiting for a worker{'' if job.place is None else ahead}"
    if job.state == State.APPROVAL:
        return "waiting for somebody to approve it"
    state = "asked to stop" if job.cancelling else str(job.state).replace("_", " ")
    return ", ".join([state, *_how_far(job)]) if not job.ended else state


def check_after(job: View) -> int:
    """Whole seconds after which looking again makes sense, though waiting with get_job_status is better."""
    return math.ceil(min(_MOST_PAUSE, job.poll_ms / 1000))


def _how_far(job: View) -> list[str]:
    said = []
    if job.progress is not None:
        share = f" ({job.progress / job.total:.0%})" if job.total else ""
        said.append(f"{job.progress:g}{f' of {job.total:g}' if job.total else ''}{share}")
    return [*said, job.message] if job.message else said


def _what_next(job: View) -> str:
    if job.state == State.INPUT:
        questions = "; ".join(str(question["message"]) for question in job.asked.values())
        return (
            f"It waits for an answer from the person it works for: {questions}\nThis host cannot pass it on; "
            f"the person can answer in a host that follows tasks, or you can call {CANCEL}."
        )
    if job.state == State.APPROVAL:
        return (
            f"It runs by itself as soon as a second person approves it. Tell the person, and call {STATUS} again "
            f"later; do not call {job.tool} again meanwhile."
        )
    return (
        f"Call {STATUS} again with this job_id and wait_seconds={LONGEST_WAIT}; do not call {job.tool} again meanwhile."
    )
