"""Every call is charged to the limits exactly once, also one that is refused for another reason."""

from dataclasses import replace

import pytest

from policy.decide import Refusal
from policy.models import Limit, Per
from tests.calling import Enter, enter
from tests.cast import Cast


def limit(cast: Cast, calls: int, per: str = Per.TENANT, tool: str = "") -> None:
    with cast.see(cast.acme):
        Limit.objects.create(tenant=cast.acme, per=per, tool=tool, calls=calls, seconds=3600)


async def ends(calling: Enter, *calls: tuple[str, dict[str, object]]) -> list[str]:
    """How each call ended: the reason it was refused for, or `ran`."""
    ended = [await calling.call(name, **arguments) for name, arguments in calls]
    return [one.reason if isinstance(one, Refusal) else "ran" for one in ended]


WRONG: tuple[str, dict[str, object]] = ("echo", {"wrong": 1})
RIGHT: tuple[str, dict[str, object]] = ("echo", {"text": "x"})
NOWHERE: tuple[str, dict[str, object]] = ("nowhere", {})


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
