"""Limits nobody else counts in, calls against them, and time that passes without anybody waiting."""

import asyncio
import secrets
import threading
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, Final

from lib import db
from policy.models import Counts, Per
from policy.take import Charged, LimitRule, Limits, flush, take
from policy.values import Refusal, Subject
from tenants.caller import Caller
from tests.callers import UMA
from tests.postgres import as_app, as_owner, rows

ECHO: Final = Subject(name="echo", scopes=frozenset(), most_bytes=100)
SHOUT: Final = replace(ECHO, name="shout")


def limit(
    most: int,
    seconds: int = 3600,
    per: Per = Per.TENANT,
    tool: str = "",
    *,
    counts: Counts = Counts.CALLS,
    share: int = 100,
) -> LimitRule:
    return LimitRule(
        id=secrets.randbits(40), counts=counts.value, per=per.value, tool=tool, most=most, seconds=seconds, share=share
    )


@asynccontextmanager
async def database() -> AsyncIterator[None]:
    async with db.open_pool(size=2):
        yield
        await flush()


async def call(
    rules: Sequence[LimitRule],
    *,
    caller: Caller = UMA,
    subject: Subject = ECHO,
    digest: str = "one",
    runs: float | None = 60.0,
    id: uuid.UUID | None = None,
) -> Charged | Refusal:
    return await take(caller, subject, Limits(rules), call=id or uuid.uuid4(), digest=digest, runs=runs)


async def refused(rules: Sequence[LimitRule], **given: Any) -> Refusal:
    answer = await call(rules, **given)
    assert isinstance(answer, Refusal)
    return answer


async def held(rules: Sequence[LimitRule], **given: Any) -> Charged:
    """Let in, and not over yet."""
    answer = await call(rules, **given)
    assert isinstance(answer, Charged), answer
    return answer


async def ended(charged: Charged, size: int = 0) -> None:
    """It is over, and the buckets know."""
    charged.settle(size)
    await flush()


async def let_in(rules: Sequence[LimitRule], *, times: int, **given: Any) -> int:
    answers = await asyncio.gather(*(call(rules, **given) for _ in range(times)))
    return sum(isinstance(answer, Charged) for answer in answers)


async def pass_time(rules: Sequence[LimitRule], seconds: float) -> None:
    """The same to the algorithm as waiting: what was counted lies so much further back."""
    pushed_back(rules, seconds)


def pushed_back(rules: Sequence[LimitRule], seconds: float) -> None:
    with as_owner() as owner:
        for rule in rules:
            ours = f"{rule.id}/%"
            owner.execute("UPDATE policy_bucket SET tat = tat - %s WHERE key LIKE %s", [seconds, ours])
            owner.execute(
                "UPDATE policy_hold SET since = since - %s, expires = expires - %s WHERE key LIKE %s",
                [seconds, seconds, ours],
            )


def holds(rules: Sequence[LimitRule]) -> int:
    """How many calls hold something of these, expired or not."""
    with as_owner() as owner:
        counted = [rows(owner, "SELECT count(*) FROM policy_hold WHERE key LIKE %s", f"{rule.id}/%") for rule in rules]
    return sum(int(one[0][0]) for one in counted)


def in_loops(count: int, work: Any) -> list[Any]:
    """The same coroutine on `count` event loops at once, each with connections of its own, as processes have them."""
    done: list[Any] = []

    async def alone() -> None:
        async with database():
            done.append(await work())

    threads = [threading.Thread(target=lambda: asyncio.run(alone())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == count
    return done


@contextmanager
def no_deadlock() -> Iterator[None]:
    before = _deadlocks()
    yield
    assert _deadlocks() == before


def _deadlocks() -> int:
    with as_app() as conn:
        return int(rows(conn, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0])
