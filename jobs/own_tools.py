"""The hub's own tools, for models in hosts that cannot follow a task: look at a job, take its result, stop it.

They are made in code, listed wherever a caller reaches a tool that runs as a job or may be held for approval, and run
like every tool: validated, charged, recorded.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings

from jobs import following, rows, words
from lib.schema import compile_schema
from policy.decide import visible
from policy.rules import NO_RULES
from policy.values import Refusal, Subject
from tenants.caller import Caller
from tools import calls
from tools.catalog import Catalog, LiveTool
from tools.values import Call, Origin, Report, Result

USUAL_WAIT = 20
_TIMEOUT = 60.0
_ANY_SIZE = 2**40
"""What these give was bounded when it was kept."""

_JOB_ID = {
    "type": "string",
    "minLength": 1,
    "maxLength": 64,
    "description": "The job_id that the tool gave when it was called, exactly as it was given.",
}


async def _status(call: Call) -> Result:
    seconds = float(call.arguments.get("wait_seconds", USUAL_WAIT))
    with following.wait(call.caller) as refused:
        seconds = 0.0 if refused else seconds
        job = await rows.wait(call.caller, call.arguments["job_id"], seconds, report=call.report, content=True)
    return words.status(job, call.caller.tenant_slug) if job else _unknown()


async def _result(call: Call) -> Result:
    job = await rows.get(call.caller, call.arguments["job_id"], content=True)
    if job is None:
        return _unknown()
    if job.ended:
        return words.result_of(job, call.caller.tenant_slug)
    return Result.of_error(
        f"Job {job.id} ({job.tool}) has no result yet: {words.standing(job)}. "
        f"Call {words.STATUS} with this job_id; it waits for you and gives the result when it is there.",
        "not_ended",
    )


async def _cancel(call: Call) -> Result:
    job = await rows.cancel(call.caller, call.arguments["job_id"])
    if job is None:
        return _unknown()
    return Result(content=words.stopped(job).content, structured=words.facts(job))


def _unknown() -> Result:
    """The same for every id that is not the caller's to see, whatever the reason."""
    return Result.of_error(
        "There is no such job here. Pass the job_id exactly as it was given when the tool was called; "
        "jobs are forgotten 30 days after their end.",
        "unknown_job",
    )


def _made(
    name: str,
    title: str,
    description: str,
    run: Callable[[Call], Awaitable[Result]],
    *,
    more: Mapping[str, Any] | None = None,
    read_only: bool = True,
    most_bytes: int = 65536,
) -> LiveTool:
    schema = {
        "type": "object",
        "properties": {"job_id": _JOB_ID, **(more or {})},
        "required": ["job_id"],
        "additionalProperties": False,
    }
    return LiveTool(
        name=name,
        number=0,
        manifest={
            "name": name,
            "title": title,
            "description": description,
            "inputSchema": schema,
            "annotations": {
                "readOnlyHint": read_only,
                "destructiveHint": not read_only,
                "idempotentHint": True,
                "openWorldHint": False,
            },
        },
        input=compile_schema(schema),
        output=None,
        subject=Subject(name=name, scopes=frozenset(), most_bytes=most_bytes),
        hidden=frozenset(),
        mirrored=False,
        kind="",
        config=None,
        connection=None,
        timeout=_TIMEOUT,
        max_result=_ANY_SIZE,
        idempotent=True,
        run=run,
    )


OWN: Mapping[str, LiveTool] = {
    tool.name: tool
    for tool in (
        _made(
            words.CANCEL,
            "Cancel a job",
            "Stop a job that a tool of this server started. Use it when the person no longer wants the result, or "
            "asked for it by mistake. A job that waits never runs; one that runs is told to stop and may already have "
            "taken partial effect; one that has ended stays as it is. Nothing that was done is undone.",
            _cancel,
            read_only=False,
        ),
        _made(
            words.RESULT,
            "Get the result of a job",
            "Get what a job's tool gave, exactly as the tool gave it, once the job has ended. Use it when "
            f"{words.STATUS} said that the job has ended and you need the result again; it does not wait. "
            "For a job that failed it says why, and whether calling the tool again is safe.",
            _result,
            most_bytes=2 * settings.JOBS_INLINE_RESULT,
        ),
        _made(
            words.STATUS,
            "Get the status of a job",
            "Wait for a job that a tool of this server started, and see how far it is. Use it whenever a tool answered "
            f"with a job_id instead of a result. It waits up to wait_seconds (at most {words.LONGEST_WAIT}) and "
            "answers as soon as the job ends, then with the result itself, so nothing else needs to be called. "
            "If the job still runs, call it again, as often as needed; do not call the tool that started the job "
            "again, and do not make up its result.",
            _status,
            more={
                "wait_seconds": {
                    "type": "number",
                    "minimum": 0,
                    "maximum": words.LONGEST_WAIT,
                    "default": USUAL_WAIT,
                    "description": "How long to wait for the end before answering. 0 answers at once.",
                }
            },
        ),
    )
}


def offered(catalog: Catalog, caller: Caller) -> list[Mapping[str, Any]]:
    """Their manifests, in the order of their names; none where no call of the caller's could become a job."""
    lasting = (tool for tool in catalog.tools.values() if tool.lasting is not None or catalog.rules.reviews)
    reached = any(visible(caller, tool.subject, catalog.rules) for tool in lasting)
    return [tool.manifest for tool in OWN.values()] if reached else []


def find(catalog: Catalog, name: str) -> LiveTool | None:
    """The tool of the hub's own by that name. It is found where it is not listed too, as jobs outlive the tools that
    made them; a tool that the tenant had by that name before stays theirs while none of their calls becomes a job."""
    tool = OWN.get(name)
    if tool is None or name not in catalog.tools:
        return tool
    makes_jobs = catalog.rules.reviews or any(one.lasting is not None for one in catalog.tools.values())
    return tool if makes_jobs else None


async def run(
    caller: Caller, tool: LiveTool, arguments: dict[str, Any], *, catalog: Catalog, origin: Origin, report: Report
) -> Result | Refusal:
    """Use one of them, under the tenant's limits and in its ledger. Rules have no say: they only follow what was let
    through, and whoever may see a job may stop it."""
    ended = await calls.run_tool(
        caller, tool, arguments, limits=catalog.limits, rules=NO_RULES, origin=origin, report=report
    )
    assert not isinstance(ended, calls.Pending)  # noqa: S101 - none of them is destructive
    return ended
