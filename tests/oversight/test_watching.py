"""Hearing of a switch when it cannot be looked at what it stops."""

import asyncio

import pytest

from tests.cast import Cast
from tests.postgres import as_owner
from tools import running


@pytest.mark.usefixtures("listening")
async def test_a_switch_is_looked_at_again_until_it_could_be(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int | None] = []
    obeyed = asyncio.Event()

    async def kill(tenant_id: int | None) -> None:
        asked.append(tenant_id)
        if asked.count(cast.acme.pk) < 4:
            raise RuntimeError("the judge is away")
        obeyed.set()

    monkeypatch.setattr(running, "kill", kill)
    with as_owner() as conn:
        conn.execute("SELECT pg_notify('mcphub', %s)", [f'{{"t": {cast.acme.pk}, "e": "kill", "s": "tool"}}'])
    async with asyncio.timeout(10):
        await obeyed.wait()
    assert asked.count(cast.acme.pk) == 4
    told = [record.message for record in caplog.records if record.name == "oversight.watching"]
    assert told == ["calls that a kill switch stops run on in this process until Postgres tells which they are"]
