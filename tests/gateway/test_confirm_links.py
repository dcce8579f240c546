"""A call that its person has to say yes to, at a host that cannot ask them: they answer on a page of ours."""

import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from jobs.confirming import MOST_OPEN
from policy.models import Limit
from tenants.models import Role, User
from tests.admin.conftest import SignIn, sign_in
from tests.cast import Cast
from tests.gateway.confirming import LINKS, NEITHER, NO, YES, Noting, govern, noting, reason_of
from tests.gateway.following import lasting
from tests.host import REVISIONS, Host
from tests.ledger import calls, entries
from tests.postgres import as_owner
from tests.waiting import until
from tools import actions as tool_actions
from tools.models import Tool

__all__ = ["sign_in"]  # a fixture

Make = Callable[..., Host]


@pytest.fixture
def uma(cast: Cast, host: Make, tmp_path: Path) -> Noting:
    """At a host that can ask nothing."""
    noting(cast)
    return Noting(host(), tmp_path / "notes", NEITHER)


@pytest.fixture
def person(cast: Cast, sign_in: SignIn) -> Client:
    return sign_in(cast.uma)


def say(person: Client, page: str, answer: str = "yes") -> int:
    return int(person.post(page, {"answer": answer}).status_code)


def age(page: str, assignment: str) -> None:
    with as_owner() as conn:
        query = f"UPDATE jobs_confirmation SET {assignment} WHERE id = %s"  # noqa: S608 - of ours
        conn.execute(query, [page.split("/")[2]])


def repeats(cast: Cast, most: int) -> None:
    """From the next call on, the very same one may come so many times."""
    with cast.see(cast.acme):
        Limit.objects.create(tenant=cast.acme, per="member", counts="repeats", most=most, seconds=3600)
    cast.tool(cast.acme, "echo")  # makes a new version of the catalogue, with the limit


def asked(cast: Cast) -> int:
    return len(calls(cast, cast.acme, "note", "call.asked"))


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_host_that_cannot_ask_is_given_a_link_and_may_call_again_after_the_yes(
    cast: Cast, host: Make, tmp_path: Path, person: Client, revision: str
) -> None:
    noting(cast)
    uma = Noting(host(revision=revision), tmp_path / "notes", NEITHER)
    answer = uma.call()
    assert answer.result["isError"]
    page = uma.link()
    assert answer.result["_meta"]["mcphub/refusal"] == {
        "reason": "confirmation_needed",
        "retryable": False,
        "askAt": answer.text.split("this link: ")[1].split(" ")[0],
    }
    assert "call again with exactly the same arguments" in answer.text
    assert say(person, page) == 302
    assert not uma.call().result["isError"]
    assert uma.lines == ["hello"]


def test_the_same_call_is_given_the_same_link_and_another_one_another(uma: Noting) -> None:
    assert uma.link() == uma.link()
    assert uma.link("something else") != uma.link()


def test_a_yes_lets_the_call_through_once(uma: Noting, person: Client) -> None:
    page = uma.link()
    say(person, page)
    uma.call()
    assert uma.link() not in ("", page)
    assert uma.lines == ["hello"]


def test_after_a_no_the_same_call_is_refused_for_ten_minutes(uma: Noting, person: Client) -> None:
    page = uma.link()
    say(person, page, "no")
    assert reason_of(uma.call()) == "not_confirmed"
    assert reason_of(uma.call("something else")) == "confirmation_needed"
    age(page, "answered_at = now() - interval '601 seconds'")
    assert reason_of(uma.call()) == "confirmation_needed"
    assert uma.lines == []


def test_a_yes_holds_for_ten_minutes_and_a_question_for_an_hour(uma: Noting, person: Client) -> None:
    page = uma.link()
    say(person, page)
    age(page, "answered_at = now() - interval '601 seconds'")
    again = uma.link()
    assert again != page
    age(again, "expires_at = now() - interval '1 second'")
    say(person, again)
    assert uma.link() not in (page, again)
    assert uma.lines == []


@pytest.mark.parametrize("shows", [NEITHER, LINKS], ids=["passes links on", "opens links"])
@pytest.mark.parametrize("answer", ["yes", "no"])
def test_what_is_called_again_and_again_while_nobody_says_yes_is_told_so_and_the_yes_still_counts(
    cast: Cast, uma: Noting, person: Client, shows: dict[str, Any], answer: str
) -> None:
    repeats(cast, 5)
    page = uma.link()
    host = Noting(uma.host, uma.path, shows)
    came = [host.call() for _ in range(12)]
    assert {reason_of(one) for one in came[4:]} == {"repeated_call"}
    assert asked(cast) == 5
    say(person, page, answer)
    last = host.call()
    assert uma.lines == (["hello"] if answer == "yes" else [])
    assert answer == "yes" or reason_of(last) == "repeated_call"


def test_each_yes_runs_however_seldom_the_same_call_may_come(cast: Cast, uma: Noting, person: Client) -> None:
    repeats(cast, 2)
    for _ in range(2):
        say(person, uma.link())
        uma.call()
    assert uma.lines == ["hello"] * 2
    assert reason_of(uma.call()) == "repeated_call"


def test_a_host_that_opens_links_opens_the_page_and_is_told_to_come_again(
    cast: Cast, uma: Noting, person: Client
) -> None:
    opening = Noting(uma.host, uma.path, LINKS)
    asking = opening.call().result
    assert asking["resultType"] == "input_required"
    question = asking["inputRequests"]["confirm"]
    assert question["method"] == "elicitation/create"
    assert question["params"]["mode"] == "url"
    page = uma.link()
    assert question["params"]["url"].endswith(page), "one question, whichever host puts it"
    assert reason_of(opening.call(inputResponses=YES)) == "confirmation_needed", "that it was opened is no yes"
    assert reason_of(opening.call(inputResponses=NO)) == "not_confirmed"
    assert opening.lines == []
    say(person, page)
    opening.call(inputResponses=YES)
    assert opening.lines == ["hello"]
    assert {one.detail["by"] for one in calls(cast, cast.acme, "note", "call.asked") if one.detail} == {"link", "page"}


def test_a_job_runs_after_the_yes(cast: Cast, host: Make, tmp_path: Path, person: Client) -> None:
    lasting(cast, "note", read_only=False, destructive=True)
    uma = Noting(host(revision="2025-11-25"), tmp_path / "notes", NEITHER)
    page = uma.link()
    assert not calls(cast, cast.acme, "note", "job.accepted")
    say(person, page)
    assert "job_id" in uma.call().text
    assert len(calls(cast, cast.acme, "note", "job.accepted")) == 1


def test_a_host_that_asks_for_a_task_is_given_the_link_as_well(cast: Cast, host: Make, tmp_path: Path) -> None:
    lasting(cast, "note", read_only=False, destructive=True)
    uma = Noting(host(revision="2025-11-25"), tmp_path / "notes", NEITHER)
    assert reason_of(uma.call(task={})) == "confirmation_needed"


def test_what_is_asked_and_answered_is_recorded(cast: Cast, uma: Noting, person: Client) -> None:
    page = uma.link()
    say(person, page)
    uma.call()
    (asked_of,) = calls(cast, cast.acme, "note", "call.asked")
    (answered,) = entries(cast, cast.acme, "call.answered")
    (started,) = calls(cast, cast.acme, "note", "call.started")
    subject = f"confirmation {page.split('/')[2]}"
    assert (asked_of.subject, answered.subject) == (subject, subject)
    assert (answered.actor, answered.detail) == (cast.uma.username, {"answer": "yes"})
    assert started.detail is not None
    assert started.detail["agreed"] == "confirmed"


# What somebody may try.


def test_a_yes_to_one_call_runs_no_other(uma: Noting, person: Client) -> None:
    say(person, uma.link("harmless"))
    assert reason_of(uma.call("harmful")) == "confirmation_needed"
    assert uma.lines == []


def test_of_many_that_come_after_one_yes_exactly_one_runs(uma: Noting, person: Client, hub: list[str]) -> None:
    say(person, uma.link())
    came: list[bool] = []

    def come(worker: int) -> None:
        came.append(uma.by(Host(hub[worker % 2], uma.host.slug, uma.host.key)).call().result["isError"])

    threads = [threading.Thread(target=come, args=[number]) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    assert sorted(came) == [False] + [True] * 7
    assert uma.lines == ["hello"]
    assert len({uma.link() for _ in range(3)}) == 1


def test_a_tool_that_was_edited_after_the_yes_is_asked_about_anew(cast: Cast, uma: Noting, person: Client) -> None:
    say(person, uma.link())
    with cast.see(cast.acme):
        tool = Tool.objects.get(tenant=cast.acme, name="note")
        tool.timeout = 7
        tool.save()
        tool_actions.publish(tool, actor=cast.staff)
    assert reason_of(uma.call()) == "confirmation_needed"
    assert uma.lines == []


def test_the_page_shows_what_rules_make_of_the_arguments_and_that_is_sent(
    cast: Cast, uma: Noting, person: Client
) -> None:
    tamed = {"effect": "transform", "what": {"tools": ["note"]}, "transform": [{"set": "text", "to": "tamed"}]}
    govern(cast, {"name": "tame", **tamed})
    page = uma.link("wild")
    shown = person.get(page).content.decode()
    assert "tamed" in shown
    assert "wild" not in shown
    say(person, page)
    uma.call("wild")
    assert uma.lines == ["tamed"]


def test_a_rule_of_after_the_yes_still_holds(cast: Cast, uma: Noting, person: Client) -> None:
    say(person, uma.link())
    govern(cast, {"name": "stop", "effect": "deny", "what": {"tools": ["note"]}})
    assert reason_of(uma.call()) == "denied"
    assert uma.lines == []


def test_another_credential_and_another_member_do_not_use_it(
    uma: Noting, person: Client, cast: Cast, host: Make
) -> None:
    say(person, uma.link())
    for other in (host(), host(cast.olga)):
        assert reason_of(uma.by(other).call()) == "confirmation_needed"
    assert uma.lines == []


WHO: dict[str, Callable[[Cast], User]] = {
    "the owner of the tenant": lambda cast: cast.olga,
    "an approver": lambda cast: cast.anna,
    "somebody of another tenant": lambda cast: cast.bob,
    "platform staff": lambda cast: cast.staff,
    "another user of the tenant": lambda cast: cast.join(cast.acme, "ulf", Role.USER).user,
}


@pytest.mark.parametrize("who", WHO.values(), ids=WHO.keys())
def test_nobody_else_sees_the_page_or_answers_on_it(
    cast: Cast, uma: Noting, sign_in: SignIn, who: Callable[[Cast], User]
) -> None:
    page, other = uma.link(), sign_in(who(cast))
    nowhere = other.get(f"/confirm/{uuid.uuid4()}/")
    answer = other.get(page)
    assert answer.status_code == nowhere.status_code == 404
    assert "note" not in answer.content.decode()
    assert say(other, page) == 404
    assert reason_of(uma.call()) == "confirmation_needed"


def test_a_stranger_signs_in_first(uma: Noting) -> None:
    page = uma.link()
    assert Client().get(page).headers["location"] == f"/accounts/login/?next={page}"
    assert say(Client(), page) == 302
    assert reason_of(uma.call()) == "confirmation_needed"


def test_a_form_of_another_site_answers_nothing(cast: Cast, uma: Noting) -> None:
    page, guarded = uma.link(), Client(enforce_csrf_checks=True)
    guarded.force_login(cast.uma)
    assert say(guarded, page) == 403
    assert reason_of(uma.call()) == "confirmation_needed"


@pytest.mark.parametrize("answer", ["", "maybe", "YES", "yes "])
def test_what_is_neither_yes_nor_no_is_no_answer(uma: Noting, person: Client, answer: str) -> None:
    page = uma.link()
    assert say(person, page, answer) == 302
    assert uma.link() == page


def test_an_answer_stays_what_it_was(uma: Noting, person: Client) -> None:
    page = uma.link()
    say(person, page, "no")
    say(person, page, "yes")
    assert reason_of(uma.call()) == "not_confirmed"


def test_no_more_than_twenty_questions_of_a_member_are_open(cast: Cast, uma: Noting, person: Client) -> None:
    pages = [uma.link(str(number)) for number in range(MOST_OPEN)]
    refused = uma.call("one more")
    assert reason_of(refused) == "too_many_questions"
    assert refused.result["_meta"]["mcphub/refusal"]["retryable"]
    assert uma.link("3") == pages[3]
    say(person, pages[3], "no")
    assert reason_of(uma.call("one more")) == "confirmation_needed"


def test_a_limit_uses_up_no_yes(cast: Cast, uma: Noting, person: Client) -> None:
    say(person, uma.link())
    limit = {"per": "member", "counts": "concurrent", "most": 1, "seconds": 60}
    with cast.see(cast.acme):
        Limit.objects.create(tenant=cast.acme, **limit)
    cast.tool(cast.acme, "wait_for_file")
    gate = uma.path.with_name("gate")
    slow = threading.Thread(target=uma.host.call, args=["wait_for_file", {"path": str(gate)}])
    slow.start()
    until(lambda: calls(cast, cast.acme, "wait_for_file", "call.started"))
    assert reason_of(uma.call()) == "too_many_at_once"
    gate.touch()
    slow.join(20)
    until(lambda: not uma.call().result["isError"])
    assert uma.lines == ["hello"]
