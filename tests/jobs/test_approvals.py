"""Held calls: who releases them, once, and exactly what was seen."""

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.db import connections
from django.test import override_settings

from access.actions import issue_key, revoke_key
from access.models import APIKey
from audit.models import Entry
from jobs import brief, inbox_rows, reseal, wake
from jobs.held import MOST_WAITING
from jobs.models import Approval, Job
from tenants import actions as tenant_actions
from tenants.models import Group, Member, Role, User
from tests.cast import Cast
from tests.host import Host
from tests.jobs.place import Placed, held_back, marks
from tests.jobs.review import HELD, Review, lapse, publish, review, run_out
from tests.postgres import as_app, as_owner, rows

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def scene(cast: Cast, hub: list[str], tmp_path: Path) -> Review:
    return review(cast, hub[0], tmp_path)


def left(scene: Review, note: str = "marks") -> list[int]:
    return marks(scene.path / note)


def test_a_held_call_has_no_effect_until_a_reviewer_approves_it_and_then_runs_once(scene: Review) -> None:
    job = scene.call()
    assert (job.row()["state"], left(scene)) == ("awaiting_approval", [])
    assert scene.decide(job, "approve", scene.cast.anna) == "done"
    row = job.until_ended()
    assert (row["state"], row["agreed"], left(scene)) == ("succeeded", "approved", [1])
    approval = scene.approval(job)
    assert (approval.state, approval.decided_by_id) == ("approved", scene.cast.anna.pk)


def test_the_ledger_tells_who_asked_by_which_rule_it_was_held_and_who_released_it(scene: Review) -> None:
    job = scene.call()
    scene.decide(job, "approve", scene.cast.anna)
    job.until_ended()
    with scene.cast.see(scene.cast.acme):
        told: dict[str, Any] = {one.event: one for one in Entry.objects.filter(subject=f"job {job.id}")}
    assert list(dict.fromkeys(event for event, _ in job.events())) == [
        "job.accepted", "job.held", "approval.given", "call.started", "call.finished", "job.ended",
    ]  # fmt: skip
    assert told["job.accepted"].detail == {"effect": "review", "rule": HELD, "rules": 1}
    assert (told["job.held"].actor, told["job.held"].detail["roles"]) == (
        scene.cast.uma.username,
        ["admin", "approver", "owner"],
    )
    given = told["approval.given"]
    assert (given.actor, given.detail["for"]) == (scene.cast.anna.username, scene.cast.uma.username)


def test_the_same_call_again_joins_the_held_job_and_gets_its_result_once_it_has_run(scene: Review) -> None:
    job = scene.call()
    assert scene.call().id == job.id
    scene.decide(job, "approve", scene.cast.anna)
    job.until_ended()
    again = scene.host().call(scene.tool.name, scene.arguments())
    assert (again.text, left(scene)) == ("marked", [1])


def test_an_approval_of_one_call_releases_no_other(scene: Review) -> None:
    first, second = scene.call("a"), scene.call("b")
    assert scene.decide(second, "approve", scene.cast.anna, seen_digest=scene.approval(first).digest) == "not_as_seen"
    assert scene.decide(first, "approve", scene.cast.anna) == "done"
    first.until_ended()
    assert (second.row()["state"], left(scene, "b")) == ("awaiting_approval", [])


def test_arguments_that_were_swapped_for_those_of_another_call_are_not_run(scene: Review) -> None:
    first, second = scene.call("a"), scene.call("b")
    with as_owner() as conn:
        conn.execute(
            "UPDATE jobs_job SET arguments = (SELECT arguments FROM jobs_job WHERE id = %s) WHERE id = %s",
            [second.id, first.id],
        )
    assert scene.decide(first, "approve", scene.cast.anna) == "arguments_lost"
    assert (first.row()["state"], scene.approval(first).state) == ("cancelled", "withdrawn")


def test_a_tool_that_was_edited_meanwhile_makes_the_approval_void(scene: Review) -> None:
    job = scene.call()
    scene.edit()
    assert scene.decide(job, "approve", scene.cast.anna) == "tool_changed"
    row = job.row()
    assert (row["state"], row["reason"], scene.approval(job).state) == ("cancelled", "tool_changed", "withdrawn")
    assert scene.call().id != job.id
    assert left(scene) == []


def test_a_tool_that_is_edited_between_approval_and_run_is_not_run(scene: Review) -> None:
    job = scene.call()
    with held_back(scene.cast):
        scene.decide(job, "approve", scene.cast.anna)
        scene.edit()
    row = job.until_ended()
    assert (row["state"], row["reason"], left(scene)) == ("cancelled", "tool_changed", [])


def test_a_call_of_the_edited_tool_is_held_anew_while_the_old_one_waits(scene: Review) -> None:
    job = scene.call()
    scene.edit()
    other = scene.call()
    assert other.id != job.id
    assert scene.decide(other, "approve", scene.cast.anna) == "done"


def test_a_rule_that_denies_what_was_approved_meanwhile_has_the_last_word(scene: Review) -> None:
    job = scene.call()
    with held_back(scene.cast):
        scene.decide(job, "approve", scene.cast.anna)
        publish(scene.cast, name="No marks", effect="deny", priority=900)
    row = job.until_ended()
    assert (row["state"], row["reason"], left(scene)) == ("cancelled", "denied", [])


WRONG: dict[str, tuple[Callable[[Cast], User], str]] = {
    "the caller": (lambda cast: cast.uma, "own_call"),
    "somebody whom the rule does not name": (lambda cast: cast.audrey, "not_a_reviewer"),
    "an owner of another tenant": (lambda cast: cast.bob, "not_a_reviewer"),
    "platform staff that is no member": (lambda cast: cast.staff, "not_a_reviewer"),
}


@pytest.mark.parametrize(("who", "reason"), WRONG.values(), ids=WRONG.keys())
def test_who_may_not_decide_is_told_why(scene: Review, who: Callable[[Cast], User], reason: str) -> None:
    job = scene.call()
    for verb, given in (("approve", {}), ("deny", {"reason": "no"}), ("ask", {"text": "why?"})):
        assert scene.decide(job, verb, who(scene.cast), **given) == reason
    assert scene.approval(job).state == "waiting"


@pytest.mark.parametrize("who", ["olga", "adam", "anna"])
def test_nobody_approves_their_own_call_with_whatever_credential_and_role(scene: Review, who: str) -> None:
    person = getattr(scene.cast, who)
    host = Host(scene.base, scene.cast.acme.slug, scene.cast.key(person)[1])
    told = host.call(scene.tool.name, scene.arguments()).result["_meta"]["mcphub/job"]
    assert scene.decide(_placed(told["job_id"]), "approve", person) == "own_call"


def test_who_made_the_key_that_a_call_came_with_does_not_approve_it(scene: Review) -> None:
    with scene.cast.see(scene.cast.acme):
        member = scene.cast.member(scene.cast.acme, scene.cast.uma)
        _, secret = issue_key(member, name="for uma", actor=scene.cast.adam.username, scopes=None)
    host = Host(scene.base, scene.cast.acme.slug, secret)
    told = host.call(scene.tool.name, scene.arguments()).result["_meta"]["mcphub/job"]
    assert scene.decide(_placed(told["job_id"]), "approve", scene.cast.adam) == "own_call"
    assert scene.decide(_placed(told["job_id"]), "approve", scene.cast.anna) == "done"


def test_a_member_who_was_switched_off_decides_no_more(scene: Review) -> None:
    job = scene.call()
    _switch_off(scene, scene.cast.anna)
    assert scene.decide(job, "approve", scene.cast.anna) == "not_a_reviewer"


def test_a_call_whose_key_was_revoked_is_withdrawn_when_somebody_wants_to_release_it(scene: Review) -> None:
    job = scene.call()
    with scene.cast.see(scene.cast.acme):
        revoke_key(APIKey.objects.get(pk=job.row()["credential"].partition(":")[2]), actor="system")
    assert scene.decide(job, "approve", scene.cast.anna) == "standing_lost"
    assert (job.row()["state"], left(scene)) == ("cancelled", [])


def test_a_rule_names_reviewers_by_role_and_by_group(cast: Cast, hub: list[str], tmp_path: Path) -> None:
    scene = review(cast, hub[0], tmp_path, reviewed_by={"roles": ["owner"], "groups": ["refunds"], "minutes": 5})
    with cast.see(cast.acme):
        group = Group.objects.create(tenant=cast.acme, name="refunds")
        group.members.add(cast.member(cast.acme, cast.audrey))
    job, other = scene.call("a"), scene.call("b")
    approval = scene.approval(job)
    assert (approval.expires_at - approval.created_at).total_seconds() == 300
    assert scene.decide(job, "approve", cast.anna) == "not_a_reviewer"
    assert scene.decide(job, "approve", cast.audrey) == "done"
    assert scene.decide(other, "approve", cast.olga) == "done"


def test_a_group_of_another_tenant_by_the_same_name_decides_nothing(cast: Cast, hub: list[str], tmp_path: Path) -> None:
    scene = review(cast, hub[0], tmp_path, reviewed_by={"groups": ["refunds"]})
    with cast.see():
        group = Group.objects.create(tenant=cast.beta, name="refunds")
        group.members.add(cast.member(cast.beta, cast.bob), cast.member(cast.acme, cast.audrey))
    assert scene.decide(scene.call(), "approve", cast.audrey) == "not_a_reviewer"


def test_a_denied_call_ends_with_the_reason_that_the_model_reads(scene: Review) -> None:
    job = scene.call()
    assert scene.decide(job, "deny", scene.cast.anna, reason="  ") == "no_reason"
    assert scene.decide(job, "deny", scene.cast.anna, reason="Not before\nthe audit.") == "done"
    row = job.row()
    assert (row["state"], row["reason"], left(scene)) == ("cancelled", "approval_denied", [])
    told = scene.host().call("get_job_status", {"job_id": str(job.id)}).result["content"]
    assert "They said: Not before the audit." in " ".join(one["text"] for one in told)
    assert scene.call().id != job.id


def test_what_nobody_decided_in_time_expires_and_cannot_be_approved_any_more(scene: Review) -> None:
    job, late = scene.call("a"), scene.call("b")
    run_out(late)
    assert scene.decide(late, "approve", scene.cast.anna) == "already_decided"
    run_out(job)
    lapse()
    row = job.until("expired")
    assert (row["state"], row["reason"], scene.approval(job).state) == ("expired", "approval_expired", "expired")
    assert [event for event, _ in job.events()] == ["job.accepted", "job.held", "job.expired"]
    assert left(scene, "a") == left(scene, "b") == []


def test_a_call_that_its_caller_cancels_is_withdrawn(scene: Review) -> None:
    job = scene.call()
    scene.host().call("cancel_job", {"job_id": str(job.id)})
    assert (job.row()["state"], scene.approval(job).state) == ("cancelled", "withdrawn")
    assert scene.decide(job, "approve", scene.cast.anna) == "already_decided"


def test_a_member_cannot_flood_the_reviewers(scene: Review) -> None:
    jobs = [scene.call(str(number)) for number in range(MOST_WAITING)]
    assert scene.call("0").id == jobs[0].id  # joins
    refused = scene.host().call(scene.tool.name, scene.arguments("more")).result
    assert refused["_meta"]["mcphub/refusal"]["reason"] == "too_many_waiting"
    scene.decide(jobs[0], "deny", scene.cast.anna, reason="no")
    assert scene.call("more")


def test_the_bound_of_waiting_calls_holds_for_calls_at_once(scene: Review) -> None:
    def make(number: int) -> Any:
        return scene.host().call(scene.tool.name, scene.arguments(str(number))).result

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(make, range(MOST_WAITING + 6)))
    reasons = [one["_meta"].get("mcphub/refusal", {}).get("reason") for one in told]
    assert reasons.count("too_many_waiting") == 6


def test_an_owner_breaks_the_glass_with_a_reason_even_for_a_call_of_their_own(scene: Review) -> None:
    host = Host(scene.base, scene.cast.acme.slug, scene.cast.key(scene.cast.olga)[1])
    told = host.call(scene.tool.name, scene.arguments()).result["_meta"]["mcphub/job"]
    job = _placed(told["job_id"])
    for person, reason, said in (
        (scene.cast.adam, "the shop is down", "not_an_owner"),
        (scene.cast.olga, "now", "no_reason"),
        (scene.cast.olga, "The shop is down and nobody answers.", "done"),
    ):
        assert scene.decide(job, "break_glass", person, reason=reason) == said
    job.until_ended()
    assert left(scene) == [1]
    with scene.cast.see(scene.cast.acme):
        entry: Any = Entry.objects.get(subject=f"job {job.id}", event="approval.broken")
    assert (entry.actor, entry.detail["said"]) == (scene.cast.olga.username, "The shop is down and nobody answers.")


def test_who_became_an_owner_after_a_call_was_held_breaks_no_glass_and_who_is_none_any_more_does_not_either(
    scene: Review,
) -> None:
    job, late = scene.call(), scene.cast.join(scene.cast.acme, "lena", Role.OWNER).user
    approval = scene.approval(job)
    _change_role(scene, scene.cast.adam, Role.OWNER)
    for person in (late, scene.cast.adam):
        assert scene.decide(job, "break_glass", person, reason="The shop is down.") == "not_an_owner"
        with scene.cast.see(scene.cast.acme):
            assert not inbox_rows.may_break(approval, person)
    _change_role(scene, scene.cast.olga, Role.ADMIN)
    assert scene.decide(job, "break_glass", scene.cast.olga, reason="The shop is down.") == "not_an_owner"
    assert left(scene) == []
    scene.host().call("cancel_job", {"job_id": str(job.id)})
    assert scene.decide(scene.call(), "break_glass", late, reason="The shop is down.") == "done"


def test_the_owners_of_a_call_that_was_held_before_the_hub_kept_them_are_those_of_the_upgrade(scene: Review) -> None:
    job, kept = scene.call(), import_module("jobs.migrations.0011_owners_then").HELD
    with as_owner() as conn:
        conn.execute("UPDATE jobs_approval SET owners = '{}' WHERE job_id = %s", [job.id])
    assert scene.decide(job, "break_glass", scene.cast.olga, reason="The shop is down.") == "not_an_owner"
    with as_owner() as conn:
        conn.execute(f"{kept.rstrip(';')} WHERE a.job_id = %s", [job.id])
    assert scene.decide(job, "break_glass", scene.cast.adam, reason="The shop is down.") == "not_an_owner"
    assert scene.decide(job, "break_glass", scene.cast.olga, reason="The shop is down.") == "done"


def test_reviewers_ask_and_the_callers_person_answers(scene: Review) -> None:
    job = scene.call()
    assert scene.decide(job, "answer", scene.cast.anna, text="I?") == "not_allowed"
    assert scene.decide(job, "ask", scene.cast.anna, text="Which order is this for?") == "done"
    assert scene.decide(job, "answer", scene.cast.uma, text="For A-17.") == "done"
    approval = scene.approval(job)
    with scene.cast.see(scene.cast.acme):
        assert [note.text for note in approval.notes.all()] == ["Which order is this for?", "For A-17."]
    assert [event for event, _ in job.events()][2:] == ["approval.asked", "approval.answered"]
    scene.decide(job, "approve", scene.cast.anna)
    assert scene.decide(job, "answer", scene.cast.uma, text="too late") == "already_decided"


# Races. Each is run several times, and all that take part begin at once.


def _at_once(*acts: Callable[[], Any]) -> list[Any]:
    ready = threading.Barrier(len(acts))

    def one(act: Callable[[], Any]) -> Any:
        ready.wait(10)
        try:
            return act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as pool:
        return [future.result() for future in [pool.submit(one, act) for act in acts]]


def test_of_many_who_decide_at_once_one_does(scene: Review) -> None:
    people = [scene.cast.anna, scene.cast.adam, scene.cast.olga]
    for number in range(4):
        note = f"r{number}"
        job = scene.call(note)
        said = _at_once(*[partial(scene.decide, job, "approve", who) for who in people])
        assert sorted(said) == ["already_decided", "already_decided", "done"]
        job.until_ended()
        assert left(scene, note) == [1]
        assert [event for event, _ in job.events()].count("approval.given") == 1


def _expire(scene: Review, job: Placed) -> None:
    run_out(job)
    lapse()


RIVALS: dict[str, Callable[[Review, Placed], Any]] = {
    "deny": lambda scene, job: scene.decide(job, "deny", scene.cast.adam, reason="no"),
    "expire": _expire,
    "cancel": lambda scene, job: job.ask_to_stop(),
    "break": lambda scene, job: scene.decide(job, "break_glass", scene.cast.olga, reason="it cannot wait"),
}


def test_what_a_newer_rule_would_change_does_not_run_as_it_was_approved(scene: Review) -> None:
    job = scene.call("was approved")
    moved = {"set": "path", "to": str(scene.path / "elsewhere")}
    spec = {"what": {"tools": ["leave_a_mark"]}, "transform": [moved]}
    publish(scene.cast, name="Marks go elsewhere", effect="transform", priority=500, spec=spec)
    assert scene.decide(job, "approve", scene.cast.anna) == "done"
    row = job.until_ended()
    assert (row["state"], row["reason"]) == ("cancelled", "rules_changed")
    assert (left(scene, "was approved"), left(scene, "elsewhere")) == ([], [])


@pytest.mark.parametrize("rival", RIVALS)
def test_an_approval_that_races_with_another_end_leaves_exactly_one_of_them(scene: Review, rival: str) -> None:
    for number in range(4):
        note = f"{rival}{number}"
        job = scene.call(note)
        approve = partial(scene.decide, job, "approve", scene.cast.anna)
        approved, other = _at_once(approve, partial(RIVALS[rival], scene, job))
        row, approval = job.until_ended(), scene.approval(job)
        told = [event for event, _ in job.events()]
        if approved == "done":
            assert approval.state == "approved"
            assert rival not in ("deny", "break") or other == "already_decided"
        else:
            assert approved == "already_decided"
            assert approval.state == {"deny": "denied", "expire": "expired", "cancel": "withdrawn"}.get(
                rival, "approved"
            )
        ran = row["state"] == "succeeded"
        # What was approved may have begun before it was told to stop.
        assert left(scene, note) in ([[1]] if ran else [[], [1]] if approved == "done" else [[]])
        assert told.count("call.started") <= 1
        assert len({"approval.given", "approval.denied", "approval.broken"} & set(told)) <= 1


def test_two_workers_that_are_called_for_it_run_it_once(scene: Review) -> None:
    jobs = [scene.call(f"w{number}") for number in range(4)]
    for job in jobs:
        scene.decide(job, "approve", scene.cast.anna)
        wake.ring_now(3)
    for number, job in enumerate(jobs):
        job.until_ended()
        assert left(scene, f"w{number}") == [1]


def test_the_same_call_made_at_once_by_many_is_one_held_job(scene: Review) -> None:
    calls = _at_once(*[lambda: scene.call("same").id for _ in range(6)])
    assert len(set(calls)) == 1
    with as_owner() as conn:
        assert rows(conn, "SELECT count(*) FROM jobs_approval WHERE job_id = %s", calls[0]) == [(1,)]


def _placed(job_id: str) -> Placed:
    return Placed(id=uuid.UUID(job_id))


def _change_role(scene: Review, user: User, role: Role) -> None:
    with scene.cast.see(scene.cast.acme):
        member = scene.cast.member(scene.cast.acme, user)
        member.role = role
        tenant_actions.change_member(member, actor="system")


def _switch_off(scene: Review, user: User) -> None:
    with scene.cast.see(scene.cast.acme):
        Member.objects.filter(tenant=scene.cast.acme, user=user).update(active=False)


# What is kept


def test_the_arguments_of_an_approval_are_kept_sealed_and_under_the_newest_key(scene: Review) -> None:
    job = scene.call()
    sealed = bytes(scene.approval(job).arguments)
    assert str(scene.path).encode() not in sealed
    new = Fernet.generate_key().decode()
    with override_settings(SEAL_KEYS=[new, *settings.SEAL_KEYS]):
        reseal.reseal(scene.cast.acme.pk)
    with override_settings(SEAL_KEYS=[new]):
        assert brief.opened(scene.approval(job)) == scene.arguments()
    with scene.cast.see(scene.cast.acme):  # nobody has that key from here on
        Approval.objects.all().delete()
        Job.objects.filter(tenant=scene.cast.acme).delete()


def test_an_approval_goes_with_its_job_when_that_is_forgotten(scene: Review) -> None:
    job = scene.call()
    scene.decide(job, "ask", scene.cast.anna, text="Why?")
    scene.decide(job, "deny", scene.cast.anna, reason="no")
    with as_owner() as conn:
        conn.execute(
            "UPDATE jobs_job SET expires_at = NULL, ended_at = now() - interval '31 days' WHERE id = %s", [job.id]
        )
        conn.execute("SELECT jobs_forget()")
        assert rows(conn, "SELECT count(*) FROM jobs_approval WHERE job_id = %s", job.id) == [(0,)]
        assert rows(conn, "SELECT count(*) FROM jobs_job WHERE id = %s", job.id) == [(0,)]


def test_no_tenant_decides_on_the_held_calls_of_another(scene: Review) -> None:
    job = scene.call()
    with as_app() as conn:
        for sees in ("{}", f"{{{scene.cast.beta.pk}}}"):
            decided = rows(
                conn,
                "WITH here AS MATERIALIZED (SELECT set_config('mcphub.tenants', %s, true))"
                " SELECT jobs_decide(%s, %s, 'approved', NULL, 'bob', '', '') FROM here",
                sees,
                job.id,
                scene.cast.acme.pk,
            )
            assert decided == [(False,)]
        assert rows(conn, "SELECT count(*) FROM jobs_approval") == [(0,)]
    assert scene.approval(job).state == "waiting"
