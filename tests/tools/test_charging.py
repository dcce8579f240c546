"""Every call is charged to the limits exactly once, also one that is refused for another reason."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from audit.models import Event
from lib.ids import uuid7
from policy.models import Counts, Limit, Per
from policy.values import Refusal
from tests.calling import Enter, enter
from tests.cast import Cast
from tests.database import apart
from tests.ledger import calls
from tests.waiting import until
from tools import calls as door
from tools.catalog import catalog
from tools.values import Origin, Result

Asking = tuple[str, dict[str, object]]
"""The name of a tool, and arguments."""


def limit(cast: Cast, most: int, per: str = Per.TENANT, tool: str = "", **given: object) -> None:
    with cast.see(cast.acme):
        Limit.objects.create(tenant=cast.acme, **{"per": per, "tool": tool, "most": most, "seconds": 3600, **given})


async def ends(calling: Enter, *asked: Asking) -> list[str]:
    """How each call ended: the reason it was refused for, or `ran`."""
    ended = [await calling.call(name, **arguments) for name, arguments in asked]
    return [one.reason if isinstance(one, Refusal) else "ran" for one in ended]


WRONG: Asking = ("echo", {"wrong": 1})
RIGHT: Asking = ("echo", {"text": "x"})
NOWHERE: Asking = ("nowhere", {})


@pytest.fixture
def calling(cast: Cast, request: pytest.FixtureRequest) -> Enter:
    """Uma, where the limit that the test names holds."""
    limit(cast, *request.param)
    cast.tool(cast.acme, "echo")
    cast.tool(cast.acme, "shout")
    return enter(cast, cast.uma)


@pytest.mark.parametrize("calling", [(1,), (1, Per.MEMBER), (1, Per.CREDENTIAL), (1, Per.TOOL)], indirect=True)
async def test_calls_with_wrong_arguments_run_into_the_limit(calling: Enter, running: None) -> None:
    assert await ends(calling, *[WRONG] * 20) == ["invalid_arguments"] + ["rate_limited"] * 19


@pytest.mark.parametrize("calling", [(1,), (1, Per.MEMBER), (1, Per.CREDENTIAL)], indirect=True)
async def test_calls_of_tools_that_do_not_exist_run_into_the_limit(calling: Enter, running: None) -> None:
    assert await ends(calling, *[NOWHERE] * 5) == ["unknown_tool"] + ["rate_limited"] * 4


@pytest.mark.parametrize("calling", [(1, Per.TOOL), (1, Per.TENANT, "nowhere")], indirect=True)
async def test_a_limit_of_single_tools_tells_nothing_of_what_does_not_exist(calling: Enter, running: None) -> None:
    assert await ends(calling, *[NOWHERE] * 3) == ["unknown_tool"] * 3


@pytest.mark.parametrize("calling", [(3,)], indirect=True)
async def test_every_call_is_charged_once(calling: Enter, running: None) -> None:
    assert await ends(calling, RIGHT, WRONG, NOWHERE, RIGHT) == [
        "ran",
        "invalid_arguments",
        "unknown_tool",
        "rate_limited",
    ]


@pytest.mark.parametrize("calling", [(1, Per.TENANT, "echo")], indirect=True)
async def test_a_limit_of_one_tool_counts_its_refused_calls_alone(calling: Enter, running: None) -> None:
    assert await ends(calling, WRONG, RIGHT, ("shout", {"text": "x"})) == ["invalid_arguments", "rate_limited", "ran"]


@pytest.fixture
def narrow(cast: Cast) -> Enter:
    """Uma with a credential that lacks the scope her role could hold."""
    limit(cast, 1)
    cast.scopes(cast.acme, {"tickets.read": "Read"})
    cast.tool(cast.acme, "echo", scopes=["tickets.read"])
    calling = enter(cast, cast.uma)
    return replace(calling, caller=replace(calling.caller, scopes=frozenset()))


async def test_calls_without_the_scope_run_into_the_limit(narrow: Enter, running: None) -> None:
    assert await ends(narrow, *[RIGHT] * 3) == ["insufficient_scope", "rate_limited", "rate_limited"]


@pytest.fixture
def counting(cast: Cast, request: pytest.FixtureRequest) -> Enter:
    """Uma, where the limit holds that the test names by its fields; `echo` costs three units."""
    limit(cast, **request.param)
    cast.tool(cast.acme, "echo", units=3)
    for name in ("shout", "linger", "wait_for_file", "fail"):
        cast.tool(cast.acme, name)
    cast.tool(cast.acme, "report", config={"function": "echo"}, runs="background")
    return enter(cast, cast.uma)


AT_ONCE = pytest.mark.parametrize("counting", [{"most": 2, "counts": Counts.CONCURRENT}], indirect=True)


@pytest.mark.parametrize("counting", [{"most": 2, "per": Per.MEMBER, "counts": Counts.REPEATS}], indirect=True)
async def test_the_very_same_call_again_and_again_is_told_so(counting: Enter, running: None) -> None:
    other: Asking = ("echo", {"text": "y"})
    assert await ends(counting, RIGHT, RIGHT, RIGHT, other) == ["ran", "ran", "repeated_call", "ran"]


@pytest.mark.parametrize("counting", [{"most": 5, "counts": Counts.UNITS}], indirect=True)
async def test_a_call_spends_its_tools_units(counting: Enter, running: None) -> None:
    shout: Asking = ("shout", {"text": "x"})
    ended = await ends(counting, RIGHT, RIGHT, shout, shout, shout)
    assert ended == ["ran", "spend_limit", "ran", "ran", "spend_limit"]


@AT_ONCE
async def test_no_more_calls_run_at_once_than_allowed(counting: Enter, running: None, tmp_path: Path) -> None:
    path = tmp_path / "now"
    wait: Asking = ("wait_for_file", {"path": str(path)})
    running_calls = [asyncio.create_task(ends(counting, wait)) for _ in range(6)]
    done, still = await asyncio.wait(running_calls, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    while len(done) < 4:
        more, still = await asyncio.wait(still, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        done |= more
    assert [task.result() for task in done] == [["too_many_at_once"]] * 4
    assert await ends(counting, WRONG) == ["invalid_arguments"]  # it does not run, so it needs no room
    path.touch()
    assert await asyncio.gather(*still) == [["ran"]] * 2
    assert await ends(counting, RIGHT, RIGHT, RIGHT) == ["ran"] * 3


@AT_ONCE
async def test_a_call_that_fails_or_is_cancelled_gives_back_what_it_held(
    counting: Enter, running: None, tmp_path: Path
) -> None:
    notes = [tmp_path / "one", tmp_path / "two"]
    lingering = [asyncio.create_task(counting.call("linger", path=str(note))) for note in notes]
    await asyncio.to_thread(until, lambda: all(note.exists() for note in notes))
    assert await ends(counting, RIGHT) == ["too_many_at_once"]
    for task in lingering:
        task.cancel()
    await asyncio.gather(*lingering, return_exceptions=True)
    broken: Asking = ("fail", {"how": "badly"})
    assert await ends(counting, *[broken] * 4) == ["ran"] * 4


@pytest.mark.parametrize("counting", [{"most": 200_000, "counts": Counts.BYTES}], indirect=True)
async def test_results_are_counted_by_the_bytes_they_had_as_text_and_as_structure(
    counting: Enter, running: None
) -> None:
    """What the next call may give is reserved, 131,072 bytes, and that many are left only if one of both counted."""
    large: Asking = ("echo", {"text": "x" * 40_000})
    assert await ends(counting, *[RIGHT] * 5, large, RIGHT) == ["ran"] * 6 + ["rate_limited"]


@pytest.mark.parametrize("counting", [{"most": 300_000, "counts": Counts.BYTES}], indirect=True)
async def test_of_what_a_job_gave_counts_no_more_than_a_model_may_get(counting: Enter, running: None) -> None:
    offered = await catalog(counting.caller.tenant_id, counting.version)
    ready = await door.prepare(
        counting.caller, "report", {"text": "x" * 100_000}, catalog=offered, origin=Origin(via="cli")
    )
    assert isinstance(ready, door.Ready)
    ended = await door.execute(ready, job=uuid7())
    assert isinstance(ended, Result)
    assert len(ended.structured["text"]) == 100_000  # the whole is kept
    assert await ends(counting, RIGHT) == ["ran"]


@pytest.mark.parametrize("counting", [{"most": 1, "counts": Counts.UNITS}], indirect=True)
async def test_who_is_over_any_limit_leaves_short_entries(counting: Enter, running: None, cast: Cast) -> None:
    await ends(counting, RIGHT)
    (kept,) = await asyncio.to_thread(apart, lambda: calls(cast, cast.acme, "echo", Event.REFUSED))
    assert (kept.reason, kept.preview) == ("spend_limit", None)
