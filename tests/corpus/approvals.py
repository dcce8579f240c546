"""Attacks on calls that a second person has to approve: each is an act on a scene, and tells whether it was stopped."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from jobs import wake
from tests.jobs.place import held_back, marks
from tests.jobs.review import Review, publish, run_out
from tests.postgres import as_owner

_SENTENCE = "No, this is not what was agreed."


def _runs(scene: Review, note: str = "marks") -> int:
    return len(marks(scene.path / note))


def _another_call(scene: Review) -> bool:
    first, second = scene.call("a"), scene.call("b")
    seen = scene.approval(first).digest
    refused = scene.decide(second, "approve", scene.cast.anna, seen_digest=seen) == "not_as_seen"
    return refused and _runs(scene, "b") == 0


def _swapped_arguments(scene: Review) -> bool:
    """By somebody who can write to the table of jobs."""
    first, second = scene.call("a"), scene.call("b")
    with as_owner() as conn:
        swap = "UPDATE jobs_job SET arguments = (SELECT arguments FROM jobs_job WHERE id = %s) WHERE id = %s"
        conn.execute(swap, [second.id, first.id])
    return scene.decide(first, "approve", scene.cast.anna) != "done" and _runs(scene, "b") == 0


def _edited_before(scene: Review) -> bool:
    job = scene.call()
    scene.edit()
    return scene.decide(job, "approve", scene.cast.anna) == "tool_changed" and _runs(scene) == 0


def _edited_after(scene: Review) -> bool:
    job = scene.call()
    with held_back(scene.cast):
        scene.decide(job, "approve", scene.cast.anna)
        scene.edit()
    return job.until_ended()["state"] == "cancelled" and _runs(scene) == 0


def _approved_many_times(scene: Review) -> bool:
    job = scene.call()
    people = [scene.cast.anna, scene.cast.adam, scene.cast.olga] * 2
    with ThreadPoolExecutor(len(people)) as pool:
        said = list(pool.map(partial(scene.decide, job, "approve"), people))
    job.until_ended()
    wake.ring_now(3)
    return said.count("done") == 1 and _runs(scene) == 1


def _own_call(scene: Review) -> bool:
    return scene.decide(scene.call(), "approve", scene.cast.uma) == "own_call" and _runs(scene) == 0


def _by_another_tenant(scene: Review) -> bool:
    return scene.decide(scene.call(), "approve", scene.cast.bob) != "done" and _runs(scene) == 0


def _by_nobody_named(scene: Review) -> bool:
    return scene.decide(scene.call(), "approve", scene.cast.audrey) != "done" and _runs(scene) == 0


def _after_a_no(scene: Review) -> bool:
    job = scene.call()
    scene.decide(job, "deny", scene.cast.anna, reason=_SENTENCE)
    return scene.decide(job, "approve", scene.cast.adam) == "already_decided" and _runs(scene) == 0


def _after_its_time(scene: Review) -> bool:
    job = scene.call()
    run_out(job)
    return scene.decide(job, "approve", scene.cast.anna) != "done" and _runs(scene) == 0


def _denied_meanwhile(scene: Review) -> bool:
    job = scene.call()
    with held_back(scene.cast):
        scene.decide(job, "approve", scene.cast.anna)
        publish(scene.cast, name="No marks", effect="deny", priority=900)
    job.until_ended()
    return _runs(scene) == 0


def _hidden_difference(scene: Review) -> bool:
    """What was approved once is called again with a difference that nobody sees."""
    job = scene.call("a")
    scene.decide(job, "approve", scene.cast.anna)
    job.until_ended()
    other = scene.call("a\u200b")
    return other.id != job.id and other.row()["state"] == "awaiting_approval" and _runs(scene, "a\u200b") == 0


ATTACKS: Final[Mapping[str, Callable[[Review], bool]]] = {
    "an approval of one call, used for another": _another_call,
    "an approval of arguments that were swapped": _swapped_arguments,
    "a tool edited before the approval": _edited_before,
    "a tool edited between approval and run": _edited_after,
    "six approvals at once": _approved_many_times,
    "an approval of one's own call": _own_call,
    "an approval from another tenant": _by_another_tenant,
    "an approval by somebody whom the rule does not name": _by_nobody_named,
    "an approval after a no": _after_a_no,
    "an approval after its time": _after_its_time,
    "an approval of what is denied meanwhile": _denied_meanwhile,
    "an approved call again, different in what nobody sees": _hidden_difference,
}


def _approved(scene: Review, **given: Any) -> bool:
    job = scene.call()
    scene.decide(job, "approve", scene.cast.anna, **given)
    job.until_ended()
    return _runs(scene) != 1


def _two_approved(scene: Review) -> bool:
    jobs = [scene.call("a"), scene.call("b")]
    for job in jobs:
        scene.decide(job, "approve", scene.cast.adam)
        job.until_ended()
    return (_runs(scene, "a"), _runs(scene, "b")) != (1, 1)


def _edited_and_held_anew(scene: Review) -> bool:
    scene.call()
    scene.edit()
    return _approved(scene)


HARMLESS: Final[Mapping[str, Callable[[Review], bool]]] = {
    "a call that is approved": _approved,
    "two calls, each approved": _two_approved,
    "an edited tool, held and approved anew": _edited_and_held_anew,
}
