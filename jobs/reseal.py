"""Sealing all that is kept of jobs anew with the first key of SEAL_KEYS, beside whatever runs.

It waits for nobody, and overwrites nothing that changed meanwhile. What the hub writes while this runs is under the
first key already, as every process knows it by then.
"""

import logging
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString

from asgiref.sync import async_to_sync
from django.db import connection
from django.utils import timezone

from jobs.models import Approval, Callback, Job
from lib import db, seal, storage

log = logging.getLogger(__name__)

BATCH = 50
"""Rows of one transaction: each may have megabytes, and each is locked until the next is committed."""
_ROUNDS = 5
"""How often a row is tried that is written just then, or held by somebody."""

_JOB: LiteralString = """
    UPDATE jobs_job SET arguments = %s, inputs = %s, answers = %s, result = %s WHERE id = (
        SELECT id FROM jobs_job WHERE id = %s AND arguments IS NOT DISTINCT FROM %s AND inputs IS NOT DISTINCT FROM %s
            AND answers IS NOT DISTINCT FROM %s AND result IS NOT DISTINCT FROM %s FOR UPDATE SKIP LOCKED)
"""
_CALLBACK: LiteralString = """
    UPDATE jobs_callback SET body = %s
    WHERE id = (SELECT id FROM jobs_callback WHERE id = %s AND body = %s FOR UPDATE SKIP LOCKED)
"""


_APPROVAL: LiteralString = """
    UPDATE jobs_approval SET arguments = %s
    WHERE id = (SELECT id FROM jobs_approval WHERE id = %s AND arguments = %s FOR UPDATE SKIP LOCKED)
"""


@dataclass(kw_only=True)
class Done:
    """What came of a tenant's jobs. sealed: rows and stored results that were sealed anew. lost: what no key opens,
    each in words."""

    sealed: int = 0
    lost: list[str] = field(default_factory=list)


class Busy(Exception):
    """Rows changed each time that they were looked at."""


def reseal(tenant_id: int) -> Done:
    """Rows, then stored results, of one tenant; what is under the first key already is left alone. Raises Busy."""
    done = Done()
    with db.tenant_scope([tenant_id]):
        jobs = list(Job.objects.filter(tenant_id=tenant_id).values_list("pk", flat=True))
        approvals = list(Approval.objects.filter(tenant_id=tenant_id).values_list("pk", flat=True))
        callbacks = list(Callback.objects.filter(tenant_id=tenant_id).values_list("pk", flat=True))
    _rows(tenant_id, Job, ("arguments", "inputs", "answers", "result"), _JOB, jobs, done)
    _rows(tenant_id, Callback, ("body",), _CALLBACK, callbacks, done)
    _rows(tenant_id, Approval, ("arguments",), _APPROVAL, approvals, done)
    _stored(tenant_id, done)
    return done


def _rows(
    tenant_id: int,
    model: type[Job | Callback | Approval],
    columns: Sequence[str],
    update: LiteralString,
    left: Sequence[Any],
    done: Done,
) -> None:
    for _ in range(_ROUNDS):
        missed: list[Any] = []
        for batch in _batches(left):
            with db.tenant_scope([tenant_id]), connection.cursor() as cursor:
                for pk, *before in list(model._default_manager.filter(pk__in=batch).values_list("pk", *columns)):
                    after = _anew(before, f"{model._meta.verbose_name} {pk}", done)
                    if after is None:
                        continue
                    cursor.execute(update, [*after, pk, *(one and bytes(one) for one in before)])
                    if cursor.rowcount:
                        done.sealed += 1
                    else:
                        missed.append(pk)
        if not missed:
            return
        left = missed
    raise Busy(f"{len(left)} rows were written each time; run it again")


def _anew(before: Sequence[bytes | memoryview | None], name: str, done: Done) -> list[bytes | None] | None:
    """The columns under the first key; None when they are, or when one of them cannot be opened."""
    try:
        if all(one is None or seal.newest(one) for one in before):
            return None
        return [None if one is None else seal.reseal(one) for one in before]
    except seal.SealError:
        done.lost.append(f"no key opens what is kept of {name}")
        return None


def _batches(ids: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))


def _stored(tenant_id: int, done: Done) -> None:
    """Put under another key first, then named by the row, and only then is the old one deleted: a death in between
    leaves at most something that no row names, which `storage.clear` takes."""
    with db.tenant_scope([tenant_id]):
        named = Job.objects.filter(tenant_id=tenant_id).exclude(result_key="").values_list("pk", "result_key")
        kept = list(named)
    replaced = [old for job_id, old in kept if _stored_one(tenant_id, job_id, old, done)]
    # At the end, so that who has read the row before it changed still finds what it named.
    for old in replaced:
        storage.delete(old)


def _stored_one(tenant_id: int, job_id: uuid.UUID, old: str, done: Done) -> bool:
    """Whether the row now names another. Reads and writes storage outside any transaction, as it may be slow."""
    try:
        before = storage.read(old)
        if seal.newest(before):
            return False
        after = seal.reseal(before)
    except storage.Missing:
        if _names(tenant_id, job_id, old):
            log.warning("the stored result of job %s is not there", job_id)  # so no key is needed for it
        return False
    except seal.SealError:
        done.lost.append(f"no key opens the stored result of job {job_id}")
        return False
    new = storage.new_key(job_id, timezone.now())
    async_to_sync(storage.put)(new, after)
    with db.tenant_scope([tenant_id]):
        changed = Job.objects.filter(pk=job_id, result_key=old).update(result_key=new)
    if not changed:  # forgotten meanwhile
        storage.delete(new)
    done.sealed += changed
    return bool(changed)


def _names(tenant_id: int, job_id: uuid.UUID, key: str) -> bool:
    with db.tenant_scope([tenant_id]):
        return Job.objects.filter(pk=job_id, result_key=key).exists()
