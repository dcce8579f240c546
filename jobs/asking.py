"""Asking in the middle of a job: the row holds the questions and the answers, sealed; the worker keeps its lease."""

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from psycopg import AsyncConnection

from audit import entries
from audit.models import Event
from jobs import sealed
from lib import db, events
from lib.schema import SchemaError, compile_schema
from tools.errors import ToolError
from tools.values import Question, Reply

PATIENCE = 900.0
"""Seconds in which the questions of a job must be answered."""
_LOOK = 30.0
"""Seconds after which the row is read again without any news, as Postgres may have been away when it was read last."""
_ACTIONS = ("accept", "decline", "cancel")


async def ask(
    tenant_id: int, job_id: uuid.UUID, fence: int, questions: Mapping[str, Question], *, patience: float = PATIENCE
) -> dict[str, Reply]:
    """Put the questions to whoever follows the job, and wait for a Reply to each.

    For the worker that holds the job under this fence. Raises ToolError when nobody answered in time, when it asks
    already, or when the job is no longer this worker's or to be stopped.
    """
    asked = {key: {"message": one.message, "requestedSchema": dict(one.schema)} for key, one in questions.items()}
    for one in questions.values():
        _check(one)
    end = time.monotonic() + patience
    async with events.watch(tenant_id, job_id) as news:
        await _put(tenant_id, job_id, fence, asked)
        while (answers := await _answers_so_far(tenant_id, job_id, fence)) is None:
            if time.monotonic() >= end:
                await _take_back(tenant_id, job_id, fence)
                raise ToolError("Nobody answered what it asked, so it did not go on.", reason="nobody_answered")
            await news.get(max(0.0, min(end - time.monotonic(), _LOOK)))
    return {key: Reply(action=found["action"], content=found["content"]) for key, found in answers.items()}


def open_questions(inputs: bytes | memoryview | None) -> dict[str, dict[str, Any]]:
    """What of a row's `inputs` has not been answered. Raises lib.seal.SealError when no key opens it."""
    if not inputs:
        return {}
    found = sealed.unseal_arguments(inputs)
    return {key: question for key, question in found["asked"].items() if key not in found["answered"]}


def answered(inputs: bytes | memoryview, keys: Iterable[str]) -> bytes:
    """The row's `inputs` once these are answered too."""
    found = sealed.unseal_arguments(inputs)
    return sealed.seal_arguments({**found, "answered": sorted({*found["answered"], *keys})})


def asked_inputs(asked: Mapping[str, Any]) -> bytes:
    """What a row keeps of questions that nobody has answered yet."""
    return sealed.seal_arguments({"asked": asked, "answered": []})


def accepted_answers(asked: Mapping[str, Mapping[str, Any]], responses: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The responses that are to an open question and fit it, as they are kept."""
    found = {key: _fitting(asked[key], response) for key, response in responses.items() if key in asked}
    return {key: answer for key, answer in found.items() if answer is not None}


def _fitting(question: Mapping[str, Any], response: Any) -> dict[str, Any] | None:
    if not isinstance(response, Mapping) or response.get("action") not in _ACTIONS:
        return None
    if response["action"] != "accept":
        return {"action": response["action"], "content": {}}
    content = response.get("content") or {}
    if not isinstance(content, Mapping) or not compile_schema(question["requestedSchema"]).is_valid(dict(content)):
        return None
    return {"action": "accept", "content": dict(content)}


def _check(question: Question) -> None:
    try:
        compile_schema(dict(question.schema))
    except SchemaError as problem:
        raise ToolError(f"The tool asks for something that is no schema: {problem}.", reason="misconfigured") from None


async def _put(tenant_id: int, job_id: uuid.UUID, fence: int, asked: Mapping[str, Any]) -> None:
    async with db.tenant_write(tenant_id) as conn:
        cursor = await conn.execute(
            "UPDATE jobs_job SET state = 'input_required', inputs = %s, answers = NULL,"
            " changed_at = clock_timestamp()"
            " WHERE id = %s AND fence = %s AND state = 'running' AND cancel_at IS NULL"
            " RETURNING username, credential, client, via, tool",
            [asked_inputs(asked), job_id, fence],
        )
        row = await cursor.fetchone()
        if row is None:
            raise ToolError("It cannot ask now: it was stopped, or it asks something already.", reason="cancelled")
        names = ("actor", "credential", "client", "via", "tool")
        entry = {
            **dict(zip(names, row, strict=True)),
            "tenant_id": tenant_id,
            "event": Event.JOB_ASKED,
            "call_id": str(job_id),
            "instance_id": str(entries.instance()),
            "subject": f"job {job_id}",
            "detail": {"asked": sorted(asked)},
        }
        await conn.execute("SELECT audit_append(%s::jsonb)", [orjson.dumps([entry]).decode()])
        await _tell(conn, tenant_id, job_id, "input_required")


async def _answers_so_far(tenant_id: int, job_id: uuid.UUID, fence: int) -> dict[str, Any] | None:
    """The same through an outage of Postgres, which is no reason to fail what waits for a person; the listener says
    when it is back."""
    try:
        return await _answers(tenant_id, job_id, fence)
    except db.UNREACHABLE:
        return None


async def _answers(tenant_id: int, job_id: uuid.UUID, fence: int) -> dict[str, Any] | None:
    """All the answers, or None while some are open."""
    async with db.tenant_transaction(tenant_id) as conn:
        cursor = await conn.execute(
            "SELECT state, answers FROM jobs_job WHERE id = %s AND fence = %s AND cancel_at IS NULL", [job_id, fence]
        )
        row = await cursor.fetchone()
    if row is None or row[0] not in ("running", "input_required"):
        raise ToolError("It was stopped while it asked.", reason="cancelled")
    return sealed.unseal_arguments(row[1]) if row[0] == "running" else None


async def _take_back(tenant_id: int, job_id: uuid.UUID, fence: int) -> None:
    async with db.tenant_write(tenant_id) as conn:
        await conn.execute(
            "UPDATE jobs_job SET state = 'running', inputs = NULL, answers = NULL, changed_at = clock_timestamp()"
            " WHERE id = %s AND fence = %s AND state = 'input_required'",
            [job_id, fence],
        )
        await _tell(conn, tenant_id, job_id, "running")


async def _tell(conn: AsyncConnection[Any], tenant_id: int, job_id: uuid.UUID, state: str) -> None:
    news = {"t": tenant_id, "j": str(job_id), "e": "state", "s": state}
    await conn.execute("SELECT pg_notify('mcphub', %s)", [orjson.dumps(news).decode()])
