"""A call whose request was let in just before a switch was thrown, and which begins just after."""

import asyncio

import pytest
from django.db import connection

from lib import events
from oversight import switches, things
from policy.values import Refusal
from tests.calling import Enter, enter
from tests.cast import Cast
from tests.oversight.scene import everywhere
from tests.postgres import as_owner, rows
from tools import calls
from tools.catalog import Catalog, catalog
from tools.models import Tool
from tools.values import Origin, Result


@pytest.fixture
def tool(cast: Cast) -> Tool:
    cast.tool(cast.acme, "shout")
    return cast.tool(cast.acme, "echo")


@pytest.fixture
def entered(cast: Cast, tool: Tool) -> Enter:
    return enter(cast, cast.uma)


def _throw(tool: Tool) -> None:
    with everywhere():
        thing = things.find("tool", str(tool.pk), None)
        assert thing is not None
        switches.throw(thing, actor=None)
    connection.close()  # this thread's


async def _ready(entered: Enter, offered: Catalog, name: str) -> calls.Ready:
    made = await calls.prepare(entered.caller, name, {"text": "hello"}, catalog=offered, origin=Origin(via="cli"))
    assert isinstance(made, calls.Ready)
    return made


@pytest.mark.usefixtures("listening")
async def test_it_is_not_run(tool: Tool, entered: Enter) -> None:
    offered = await catalog(entered.caller.tenant_id, entered.version)
    late, other = await _ready(entered, offered, "echo"), await _ready(entered, offered, "shout")
    async with events.watch(events.EVERY_TENANT, events.NO_JOB) as news:
        await asyncio.to_thread(_throw, tool)
        assert await news.get(30) is not None
    ended = await calls.execute(late)
    assert isinstance(ended, Refusal)
    assert (ended.reason, "It was not run." in ended.message) == ("killed", True)
    assert isinstance(await calls.execute(other), Result), "what was not switched off runs"
    with as_owner() as conn:
        told = rows(
            conn,
            "SELECT event, outcome, reason, duration_ms FROM audit_entry WHERE call_id = %s ORDER BY id",
            late.id,
        )
    assert told == [("call.started", "", "", None), ("call.finished", "cancelled", "killed", None)]
