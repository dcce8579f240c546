"""What a yes is bound to: where a call goes, and the rule and reviewers that it was held for."""

from pathlib import Path
from typing import Any

import pytest

from policy import actions as policy_actions
from policy.models import Rule
from tests.admin.conftest import SignIn, sign_in
from tests.cast import Cast
from tests.jobs.place import Placed, held_back, marks
from tests.jobs.review import HELD, Review, publish, review
from tools import actions
from tools.models import Connection

__all__ = ["sign_in"]  # a fixture

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def scene(cast: Cast, hub: list[str], tmp_path: Path) -> Review:
    return review(cast, hub[0], tmp_path)


@pytest.fixture
def desk(cast: Cast, hub: list[str], tmp_path: Path) -> Review:
    """Uma's calls go to a help desk, which nobody reaches."""
    with cast.see(cast.acme):
        connection = Connection.objects.create(tenant=cast.acme, name="Desk", base_url="https://desk.example.com/v1")
    publish(cast, spec={"what": {"tools": ["close_ticket"]}})
    given: dict[str, Any] = {"kind": "http", "config": {"path": "/t"}, "read_only": False, "output_schema": None}
    tool = cast.tool(cast.acme, "close_ticket", connection=connection, input_schema={"type": "object"}, **given)
    return Review(cast=cast, base=hub[0], tool=tool, key=cast.key(cast.uma)[1], path=tmp_path)


def move(scene: Review, url: str) -> None:
    with scene.cast.see(scene.cast.acme):
        connection = Connection.objects.get(tenant=scene.cast.acme)
        connection.base_url = url
        actions.save_connection(connection, actor=scene.cast.olga)


def ended(job: Placed) -> tuple[str, str]:
    row = job.until_ended()
    return row["state"], row["reason"]


def test_a_call_whose_tool_leads_elsewhere_since_is_withdrawn_instead_of_approved(desk: Review) -> None:
    job = desk.call()
    move(desk, "https://desk.example.com/other")
    assert desk.decide(job, "approve", desk.cast.anna) == "destination_changed"
    assert ended(job) == ("cancelled", "destination_changed")
    assert desk.approval(job).state == "withdrawn"


def test_what_leads_elsewhere_between_approval_and_run_is_not_run_and_says_so(desk: Review) -> None:
    job = desk.call()
    with held_back(desk.cast):
        assert desk.decide(job, "approve", desk.cast.anna) == "done"
        move(desk, "https://desk.example.com/other")
    assert ended(job) == ("cancelled", "destination_changed")
    assert [event for event, _ in job.events()].count("call.started") == 0
    told = desk.host().call("get_job_status", {"job_id": str(job.id)}).result["content"]
    assert "it leads elsewhere than when it was called" in " ".join(one["text"] for one in told)


def refit(scene: Review) -> None:
    """Publish the tool anew with another path, of which its manifest says nothing."""
    with scene.cast.see(scene.cast.acme):
        before = scene.tool.live
        scene.tool.config = {"path": "/elsewhere"}
        scene.tool.save()
        after = actions.publish(scene.tool, actor=scene.cast.staff)
        assert before is not None
        assert (after.number, after.manifest_hash) == (before.number + 1, before.manifest_hash)


def test_a_call_of_a_tool_that_was_published_anew_with_another_path_is_withdrawn(desk: Review, sign_in: SignIn) -> None:
    job = desk.call()
    refit(desk)
    page = sign_in(desk.cast.anna).get(f"/approvals/{desk.approval(job).pk}/")
    assert "The tool was published anew or taken away since" in page.text
    assert desk.decide(job, "approve", desk.cast.anna) == "tool_changed"
    assert ended(job) == ("cancelled", "tool_changed")
    other = desk.call()
    assert other.id != job.id
    assert desk.decide(other, "approve", desk.cast.anna) == "done"
    assert ended(other)[1] != "tool_changed"


def test_so_it_is_where_it_was_approved_before_and_has_not_begun(desk: Review) -> None:
    job = desk.call()
    with held_back(desk.cast):
        assert desk.decide(job, "approve", desk.cast.anna) == "done"
        refit(desk)
    assert ended(job) == ("cancelled", "tool_changed")
    assert [event for event, _ in job.events()].count("call.started") == 0


def test_what_waits_in_the_queue_without_having_been_held_goes_where_its_connection_leads_now(desk: Review) -> None:
    publish(desk.cast, name="Nobody has to ask", effect="allow", priority=900)
    with desk.cast.see(desk.cast.acme):
        desk.tool.runs = "background"
        desk.tool.save()
        actions.publish(desk.tool, actor=desk.cast.staff)
    with held_back(desk.cast):
        job = desk.call()
        move(desk, "https://desk.example.com/other")
    assert ended(job)[1] != "destination_changed"


def test_the_same_call_for_another_place_is_held_anew(desk: Review) -> None:
    job = desk.call()
    assert desk.call().id == job.id
    move(desk, "https://desk.example.com/other")
    other = desk.call()
    assert other.id != job.id
    assert desk.approval(other).destination == "https://desk.example.com/other"


def rewrite(scene: Review, **fields: Any) -> None:
    """Publish the rule that holds, changed."""
    with scene.cast.see(scene.cast.acme):
        rule = Rule.objects.get(tenant=scene.cast.acme, name=HELD)
        vars(rule).update(fields)
        policy_actions.save_rule(rule, actor=scene.cast.staff)
        policy_actions.publish(scene.cast.acme, actor=scene.cast.staff, tools=())


CHANGED: dict[str, dict[str, Any]] = {
    "for other roles": {"spec": {"what": {"tools": ["leave_a_mark"]}, "reviewers": {"roles": ["owner"]}}},
    "for another group": {"spec": {"what": {"tools": ["leave_a_mark"]}, "reviewers": {"groups": ["refunds"]}}},
}


@pytest.mark.parametrize("fields", CHANGED.values(), ids=CHANGED.keys())
def test_the_same_call_that_is_held_otherwise_now_does_not_join_the_one_that_waits(
    scene: Review, fields: dict[str, Any]
) -> None:
    job = scene.call()
    rewrite(scene, **fields)
    other = scene.call()
    assert other.id != job.id
    assert scene.call().id == other.id
    assert (scene.approval(job).state, scene.approval(other).state) == ("waiting", "waiting")


def test_who_would_not_be_asked_any_more_releases_nothing(scene: Review) -> None:
    job = scene.call()
    rewrite(scene, spec={"what": {"tools": ["leave_a_mark"]}, "reviewers": {"roles": ["owner"]}})
    other = scene.call()
    assert scene.decide(job, "approve", scene.cast.anna) == "done"
    assert ended(job) == ("cancelled", "rules_changed")
    assert scene.decide(other, "approve", scene.cast.olga) == "done"
    assert ended(other)[0] == "succeeded"
    assert marks(scene.path / "marks") == [1]


def test_an_owner_who_breaks_the_glass_does_so_for_everybody(scene: Review) -> None:
    job = scene.call()
    rewrite(scene, spec={"what": {"tools": ["leave_a_mark"]}, "reviewers": {"groups": ["refunds"]}})
    assert scene.decide(job, "break_glass", scene.cast.olga, reason="The customer waits") == "done"
    assert ended(job)[0] == "succeeded"


def test_the_same_call_joins_what_waits_when_only_its_time_changed_or_nothing_holds_it_any_more(
    cast: Cast, hub: list[str], tmp_path: Path
) -> None:
    scene = review(cast, hub[0], tmp_path, runs="background")
    job = scene.call()
    rewrite(scene, name="Marks are looked at", spec={"what": {"tools": ["leave_a_mark"]}, "reviewers": {"minutes": 7}})
    assert scene.call().id == job.id
    publish(cast, name="Nobody has to ask", effect="allow", priority=900)
    assert scene.call().id == job.id
