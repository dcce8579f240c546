"""The approvals inbox: what a reviewer sees, what is kept from others, and what the buttons do."""

import itertools
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from jobs.brief import amounts, differences, marked
from lib.html import MOST_SHOWN
from tenants.models import Role, User
from tests.admin.conftest import SignIn, sign_in
from tests.browser import opened
from tests.cast import Cast
from tests.host import Host
from tests.jobs.place import Placed
from tests.jobs.review import Review, publish, run_out
from tests.postgres import as_owner
from tools import actions as tool_actions

__all__ = ["sign_in"]  # a fixture

REFUND: dict[str, Any] = {
    "type": "object",
    "properties": {
        "order": {"type": "string"},
        "amount": {"type": "number"},
        "card": {"type": "string", "format": "password"},
        "note": {"type": "string"},
        "lines": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["order", "amount"],
}


@pytest.fixture
def scene(cast: Cast, hub: list[str], tmp_path: Path) -> Review:
    return refunding(cast, hub[0], tmp_path)


def refunding(
    cast: Cast, base: str, path: Path, *, destructive: bool = True, spec: dict[str, Any] | None = None
) -> Review:
    """acme, where refunds are held, those that `spec` narrows them to."""
    tool = cast.tool(
        cast.acme,
        "refund_order",
        title="Refund an order",
        config={"function": "give_back"},
        input_schema=REFUND,
        output_schema=None,
        read_only=False,
        destructive=destructive,
        idempotent=False,
    )
    publish(cast, name="Refunds need a second person", spec={"what": {"tools": ["refund_order"]}} | (spec or {}))
    return Review(cast=cast, base=base, tool=tool, key=cast.key(cast.uma)[1], path=path)


def refund(scene: Review, who: User | None = None, **arguments: Any) -> Placed:
    key = scene.key if who is None else scene.cast.key(who)[1]
    host = Host(scene.base, scene.cast.acme.slug, key)
    told = host.call("refund_order", {"order": "A-17", "amount": 40} | arguments).result
    return Placed(id=uuid.UUID(told["_meta"]["mcphub/job"]["job_id"]))


def page(client: Client, scene: Review, job: Placed) -> str:
    answer = client.get(f"/approvals/{scene.approval(job).pk}/")
    assert answer.status_code == 200
    return answer.content.decode()


def press(client: Client, scene: Review, job: Placed, verb: str, **given: str) -> Any:
    approval = scene.approval(job)
    seen = {"seen": approval.digest} if verb == "approve" else {}
    return client.post(f"/approvals/{approval.pk}/decide", {"verb": verb, **seen, **given}, follow=True)


def said(answer: Any) -> str:
    return " ".join(str(one) for one in answer.context["messages"])


def test_the_inbox_says_in_a_sentence_what_will_happen_who_asks_and_how_long_there_is(
    scene: Review, sign_in: SignIn
) -> None:
    refund(scene)
    shown = sign_in(scene.cast.anna).get("/approvals/").content.decode()
    assert "Refund an order with order “A-17” and amount 40." in shown
    assert f"asked by {scene.cast.uma.username} through test-host" in shown
    assert "runs out" in shown


@pytest.mark.parametrize(
    ("who", "in_inbox", "opens", "knows"),
    [
        ("anna", True, True, True),
        ("adam", True, True, True),
        ("olga", True, True, True),
        ("audrey", False, True, False),
        ("uma", False, False, False),
        ("bob", False, False, False),
        ("staff", False, True, False),
    ],
)
def test_what_is_asked_is_known_to_those_who_decide_and_to_nobody_else(
    scene: Review, sign_in: SignIn, who: str, in_inbox: bool, opens: bool, knows: bool
) -> None:
    job = refund(scene)
    client = sign_in(getattr(scene.cast, who))
    path = f"/approvals/{scene.approval(job).pk}/"
    assert (path in client.get("/approvals/").content.decode()) is in_inbox
    answer = client.get(path)
    assert answer.status_code == (200 if opens else 404)
    assert ("A-17" in answer.content.decode()) is knows
    assert ("Approve" in answer.content.decode() and 'value="approve"' in answer.content.decode()) is knows


def test_a_stranger_signs_in_first(scene: Review) -> None:
    job = refund(scene)
    path = f"/approvals/{scene.approval(job).pk}/"
    assert Client().get(path)["Location"] == f"/accounts/login/?next={path}"
    assert Client().post(f"{path}decide", {"verb": "approve"}).status_code == 302
    assert scene.approval(job).state == "waiting"


def test_an_empty_inbox_says_what_will_be_here(scene: Review, sign_in: SignIn) -> None:
    assert "Nothing waits for you." in sign_in(scene.cast.anna).get("/approvals/").content.decode()


def test_the_list_is_narrowed_by_tool_member_host_state_and_whose_it_is(scene: Review, sign_in: SignIn) -> None:
    umas, adams = refund(scene), refund(scene, scene.cast.adam)
    client = sign_in(scene.cast.adam)

    def found(**given: str) -> set[Any]:
        return {card.row.job_id for card in client.get("/approvals/", given).context["cards"]}

    assert found() == {umas.id}
    assert found(mine="no") == {umas.id, adams.id}
    assert found(mine="no", member=scene.cast.adam.username) == {adams.id}
    assert found(tool="refund_order") == {umas.id}
    assert found(tool="other") == set()
    assert found(host="test-host/1") | found(host="test-host 1") == {umas.id}
    assert found(host="elsewhere") == set()
    assert found(state="approved") == set()
    scene.decide(umas, "deny", scene.cast.anna, reason="no")
    assert found(state="denied") == {umas.id}
    assert found(state="any", mine="no") == {umas.id, adams.id}


def test_secrets_are_hidden_and_what_nobody_sees_is_shown_by_its_number(scene: Review, sign_in: SignIn) -> None:
    hidden = "\u202e"
    job = refund(scene, card="4111-secret", note=f"pay{hidden}now")
    shown = page(sign_in(scene.cast.anna), scene, job)
    assert "4111-secret" not in shown
    assert hidden not in shown
    assert "pay[U+202E]now" in shown
    assert "characters that nobody sees" in shown


def test_a_model_hides_nothing_by_what_it_names_it(scene: Review, sign_in: SignIn) -> None:
    job = refund(scene, None, **{"token": "payload one", "x\u200b": "payload two", "x[U+200B]": "payload three"})
    shown = page(sign_in(scene.cast.anna), scene, job)
    assert all(one in shown for one in ("payload one", "payload two", "payload three"))


def test_however_many_names_look_alike_each_is_shown_apart_and_takes_no_more_room_than_another(
    scene: Review, sign_in: SignIn
) -> None:
    """A character that nobody sees, or how it is shown, in ten places of a name: there are 1,024 that look the same."""
    ways = itertools.product(("\u200b", "[U+200B]"), repeat=10)
    job = refund(scene, None, **{"".join(way): f"payload {number};" for number, way in enumerate(ways)})
    shown = page(sign_in(scene.cast.anna), scene, job)
    assert all(f"payload {number};" in shown for number in range(1024))
    assert "are shown." not in shown


def test_names_that_look_like_one_that_was_told_apart_are_told_apart_too() -> None:
    names = ["a\u200b", "a[U+200B]", "a[U+200B] [2]", "a[U+200B] [2] [2]"]
    assert sorted(marked(dict.fromkeys(names, 1))) == [
        "a[U+200B]",
        "a[U+200B] [2]",
        "a[U+200B] [2] [2]",
        "a[U+200B] [2] [2] [2]",
    ]


def test_what_is_too_long_for_the_list_is_approved_on_its_own_page(scene: Review, sign_in: SignIn) -> None:
    job = refund(scene, note="x" * 5000)
    client = sign_in(scene.cast.anna)
    listed = client.get("/approvals/").content.decode()
    assert 'value="approve"' not in listed
    assert len(listed) < 20_000
    assert 'value="approve"' in page(client, scene, job)


def test_what_no_page_can_show_whole_is_refused_instead_of_held(scene: Review, sign_in: SignIn) -> None:
    def asked(note: str) -> Any:
        host = Host(scene.base, scene.cast.acme.slug, scene.key)
        return host.call("refund_order", {"order": "A-17", "amount": 40, "note": note}).result

    for note in ("y" * MOST_SHOWN, "\u200b" * (MOST_SHOWN // 8)):  # of which each takes as many characters to be seen
        refused = asked(note)
        assert refused["isError"]
        assert refused["_meta"]["mcphub/refusal"]["reason"] == "too_long_to_review"
    job = refund(scene, note="y" * (MOST_SHOWN - 100) + "the end")
    shown = page(sign_in(scene.cast.anna), scene, job)
    assert "the end" in shown
    assert "are shown." not in shown


def test_risks_are_named(scene: Review, sign_in: SignIn) -> None:
    client = sign_in(scene.cast.anna)
    first = refund(scene)
    shown = page(client, scene, first)
    assert "It can change or delete what is there." in shown
    assert "The caller has not used this tool lately, if ever." in shown
    assert "none to compare it with" in shown
    scene.decide(first, "approve", scene.cast.anna)
    shown = page(client, scene, refund(scene, amount=41, order="A-18"))
    assert "amount is 41; the most that was approved so far is 40." in shown
    assert "The tool was changed lately" not in shown
    scene.edit()
    shown = page(client, scene, refund(scene, amount=12))
    assert "The tool was changed lately: it is at version 2." in shown
    assert "the most that was approved so far" not in shown


def test_what_inspection_found_is_a_risk(scene: Review, sign_in: SignIn) -> None:
    job = refund(scene)
    with as_owner() as conn:
        conn.execute("UPDATE jobs_approval SET found = '{sql}' WHERE job_id = %s", [job.id])
    assert "Inspection found in its input: sql." in page(sign_in(scene.cast.anna), scene, job)


def test_a_tool_that_changed_since_is_said_before_anybody_presses(scene: Review, sign_in: SignIn) -> None:
    job = refund(scene)
    scene.edit()
    client = sign_in(scene.cast.anna)
    assert "published anew or taken away since" in page(client, scene, job)
    assert "so the call was withdrawn" in said(press(client, scene, job, "approve"))


def test_the_difference_is_to_the_callers_own_last_approved_call_before_anybody_elses(
    scene: Review, sign_in: SignIn
) -> None:
    for who, amount in ((None, 10), (scene.cast.olga, 20)):
        scene.decide(refund(scene, who, amount=amount), "approve", scene.cast.anna)
    job = refund(scene, amount=30, note="now")
    client = sign_in(scene.cast.anna)
    changes = client.get(f"/approvals/{scene.approval(job).pk}/").context["card"].brief.earlier
    assert changes.own
    assert [(one.path, one.before, one.after) for one in changes.changes] == [
        ("amount", "10", "30"),
        ("note", None, "now"),
    ]
    adams = refund(scene, scene.cast.adam, amount=5)
    other = client.get(f"/approvals/{scene.approval(adams).pk}/").context["card"].brief.earlier
    assert (other.own, other.username) == (False, scene.cast.olga.username)


def test_what_was_a_secret_when_an_earlier_call_was_made_or_is_one_now_is_not_told(
    scene: Review, sign_in: SignIn
) -> None:
    def describe(*secret: str) -> None:
        with scene.cast.see(scene.cast.acme):
            scene.tool.refresh_from_db()
            told = {name: {"type": "string"} | ({"format": "password"} if name in secret else {}) for name in names}
            scene.tool.input_schema = {**REFUND, "properties": {**REFUND["properties"], **told}}
            scene.tool.save()
            tool_actions.publish(scene.tool, actor=scene.cast.staff)

    names = ("card", "note")
    first = refund(scene, card="4111-first", note="call 555-first")
    scene.decide(first, "approve", scene.cast.anna)
    describe("note")
    job = refund(scene, card="4111-now", note="call 555-now")
    client = sign_in(scene.cast.anna)
    shown = page(client, scene, job)
    assert "4111-now" in shown
    assert not any(one in shown for one in ("4111-first", "555-first", "555-now"))
    changes = client.get(f"/approvals/{scene.approval(job).pk}/").context["card"].brief.earlier.changes
    assert [(one.path, one.before, one.after) for one in changes] == [("card", "(hidden)", "4111-now")]


def test_of_an_earlier_call_that_was_not_the_readers_to_know_only_that_it_was_is_told(
    scene: Review, sign_in: SignIn
) -> None:
    scene.decide(refund(scene, amount=11, note="for Mrs Smith"), "approve", scene.cast.adam)
    newcomer = scene.cast.join(scene.cast.acme, "nina", Role.APPROVER).user
    job = refund(scene, amount=30)
    shown = page(sign_in(newcomer), scene, job)
    assert "what it was called with cannot be shown to you" in shown
    assert "Mrs Smith" not in shown
    assert "approved so far" not in shown
    for knows in (scene.cast.anna, scene.cast.olga):
        assert "Mrs Smith" in page(sign_in(knows), scene, job)


def test_who_reads_the_ledger_or_made_an_earlier_call_is_told_of_it(scene: Review, sign_in: SignIn) -> None:
    ned = scene.cast.join(scene.cast.acme, "ned", Role.APPROVER).user
    scene.decide(refund(scene, ned, note="by ned"), "approve", scene.cast.anna)
    late = scene.cast.join(scene.cast.acme, "lena", Role.ADMIN).user
    job = refund(scene, amount=30)
    for knows in (ned, late):
        assert "by ned" in page(sign_in(knows), scene, job)


@pytest.fixture
def above(cast: Cast, hub: list[str], tmp_path: Path) -> Review:
    """Where only refunds above 20 are held."""
    return refunding(cast, hub[0], tmp_path, destructive=False, spec={"if": "args.amount > 20"})


def test_the_callers_last_call_that_ran_by_itself_is_compared_with_by_what_the_ledger_keeps(
    above: Review, sign_in: SignIn
) -> None:
    scene = above
    host = Host(scene.base, scene.cast.acme.slug, scene.key)
    given = {"order": "A-17", "amount": 5, "card": "4111-then", "token": "tok-then", "note": "x" * 300}
    host.call("refund_order", given)
    job = refund(scene, amount=30, card="4111-now", token="tok-now", note="x" * 300, lines=[])
    client = sign_in(scene.cast.adam)
    unheld = client.get(f"/approvals/{scene.approval(job).pk}/").context["card"].brief.unheld
    assert [(one.path, one.before, one.after) for one in unheld.changes] == [
        ("amount", "5", "30"),
        ("lines", None, "[]"),
    ]
    shown = page(client, scene, job)
    assert "without being held" in shown
    assert "The caller has not used this tool lately" not in shown
    assert not any(one in shown for one in ("4111-then", "tok-then"))
    knows_not = page(sign_in(scene.cast.anna), scene, job)
    assert "What it was called with cannot be shown to you." in knows_not
    assert "<del>5</del>" not in knows_not


@pytest.mark.usefixtures("worker")
def test_where_the_callers_last_call_was_approved_there_is_one_comparison(above: Review, sign_in: SignIn) -> None:
    scene = above
    host = Host(scene.base, scene.cast.acme.slug, scene.key)
    host.call("refund_order", {"order": "A-17", "amount": 5})
    held = refund(scene, amount=25)
    scene.decide(held, "approve", scene.cast.anna)
    held.until_ended()
    shown = page(sign_in(scene.cast.adam), scene, refund(scene, amount=30))
    assert "<del>25</del>" in shown
    assert "without being held" not in shown


@pytest.mark.usefixtures("worker")
def test_nor_is_that_said_of_one_whose_approval_is_no_longer_kept(
    cast: Cast, hub: list[str], tmp_path: Path, sign_in: SignIn
) -> None:
    scene = refunding(cast, hub[0], tmp_path)
    held = refund(scene, amount=25)
    scene.decide(held, "approve", scene.cast.anna)
    held.until_ended()
    with as_owner() as conn:
        conn.execute(
            "UPDATE jobs_job SET ended_at = now() - interval '31 days', expires_at = now() - interval '30 days'"
            " WHERE id = %s",
            [held.id],
        )
        for _ in range(2):  # its result first, and then itself
            conn.execute("SELECT jobs_forget()")
    shown = page(sign_in(scene.cast.adam), scene, refund(scene, amount=30))
    assert "without being held" not in shown


def test_a_newcomer_finds_nothing_to_decide_of_what_waited_before(scene: Review, sign_in: SignIn) -> None:
    job = refund(scene)
    client = sign_in(scene.cast.join(scene.cast.acme, "nina", Role.APPROVER).user)
    assert "Nothing waits for you." in client.get("/approvals/").content.decode()
    shown = page(client, scene, job)
    assert "Its rule names others to decide, or did when it was held." in shown
    assert "A-17" not in shown


def test_the_buttons_do_what_they_say(scene: Review, sign_in: SignIn) -> None:
    client = sign_in(scene.cast.anna)
    job = refund(scene)
    assert "was asked" in said(press(client, scene, job, "ask", text="Which shop?"))
    assert "Say why" in said(press(client, scene, job, "deny", reason=" "))
    assert "is not what this call would do" in said(press(client, scene, job, "approve", seen="0" * 32))
    assert "was approved and runs now" in said(press(client, scene, job, "approve"))
    assert "decided, withdrawn or ran out" in said(press(client, scene, job, "deny", reason="too late"))
    other = refund(scene, amount=3)
    assert "was denied" in said(press(client, scene, other, "deny", reason="Not today."))
    assert "denied it: Not today." in page(client, scene, other)
    assert press(client, scene, other, "sing").status_code == 404


def test_only_an_owner_finds_the_way_around_reviewers_and_needs_a_reason(scene: Review, sign_in: SignIn) -> None:
    job = refund(scene, scene.cast.olga)
    assert 'value="break"' not in page(sign_in(scene.cast.anna), scene, job)
    olga = sign_in(scene.cast.olga)
    assert 'value="break"' in page(olga, scene, job)
    assert 'value="approve"' not in page(olga, scene, job)
    assert "why this cannot wait" in said(press(olga, scene, job, "break", reason="now"))
    assert "released without a reviewer" in said(press(olga, scene, job, "break", reason="Nobody is there today."))


def test_the_caller_sees_on_the_jobs_page_what_is_waited_for_and_answers_there(scene: Review, sign_in: SignIn) -> None:
    job = refund(scene)
    uma = sign_in(scene.cast.uma)
    shown = uma.get(f"/jobs/{job.id}/").content.decode()
    assert "A second person has to approve it" in shown
    assert "Answer the reviewers" not in shown
    press(sign_in(scene.cast.anna), scene, job, "ask", text="Which shop?")
    shown = uma.get(f"/jobs/{job.id}/").content.decode()
    assert "Which shop?" in shown
    answered = uma.post(f"/jobs/{job.id}/answer", {"text": "The one in Berlin."}, follow=True)
    assert "The reviewers see your answer." in said(answered)
    assert "The one in Berlin." in page(sign_in(scene.cast.anna), scene, job)
    assert sign_in(scene.cast.bob).post(f"/jobs/{job.id}/answer", {"text": "x"}).status_code == 404


def test_the_admins_job_page_shows_the_approval(scene: Review, sign_in: SignIn) -> None:
    job = refund(scene)
    scene.decide(job, "deny", scene.cast.anna, reason="Not today.")
    shown = sign_in(scene.cast.adam).get(f"/admin/jobs/job/{job.id}/change/").content.decode()
    assert f"{scene.cast.anna.username} denied it: Not today." in shown


def test_the_frame_counts_what_waits_for_the_reader(scene: Review, sign_in: SignIn) -> None:
    refund(scene)
    refund(scene, scene.cast.adam)

    def count(user: User) -> list[str]:
        return re.findall(r'aria-label="(\d+) waiting"', sign_in(user).get("/jobs/").content.decode())

    assert count(scene.cast.anna) == ["2"]
    assert count(scene.cast.adam) == ["1"]
    assert count(scene.cast.uma) == []
    assert 'href="/approvals/"' not in sign_in(scene.cast.uma).get("/jobs/").content.decode()


def test_a_live_list_is_only_drawn_again_when_something_changed(scene: Review, sign_in: SignIn) -> None:
    job = refund(scene)
    client = sign_in(scene.cast.anna)
    mark = client.get("/approvals/").context["mark"]
    ask = {"HX-Request": "true"}
    assert client.get("/approvals/", {"mark": mark}, headers=ask).status_code == 204
    scene.decide(job, "ask", scene.cast.adam, text="Why?")
    assert "1 note" in client.get("/approvals/", {"mark": mark}, headers=ask).content.decode()
    path = f"/approvals/{scene.approval(job).pk}/live"
    assert "Why?" in client.get(path, {"mark": mark}, headers=ask).content.decode()
    run_out(job)
    scene.decide(job, "deny", scene.cast.anna, reason="x")
    with as_owner() as conn:
        conn.execute("SELECT jobs_lapse()")
    assert client.get(path, {"mark": mark}, headers=ask)["HX-Refresh"] == "true"


def test_differences_are_told_by_their_paths() -> None:
    before = {"a": 1, "b": {"c": [1, 2]}, "d": "x"}
    after = {"a": 1, "b": {"c": [1, 3, 4]}, "e": None}
    told = {one.path: (one.before, one.after) for one in differences(before, after)}
    assert told == {"b.c[1]": ("2", "3"), "b.c[2]": (None, "4"), "d": ("x", None), "e": (None, "null")}


def test_amounts_are_the_largest_under_each_path_whatever_their_place() -> None:
    given = {"lines": [{"price": 3}, {"price": 7.5}], "sure": True, "total": 10, "text": "99"}
    assert amounts(given) == {"lines[].price": 7.5, "total": 10}


# In a browser


def _signed(page: Any, hub: str, client: Client) -> None:
    page.context.add_cookies([{"name": name, "value": one.value, "url": hub} for name, one in client.cookies.items()])


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 360)])
def test_a_reviewer_goes_through_the_inbox_with_the_keyboard(
    scene: Review, sign_in: SignIn, scheme: str, width: int
) -> None:
    scene.decide(refund(scene, amount=10), "approve", scene.cast.anna)
    first, second = refund(scene, note="a\u200bb"), refund(scene, scene.cast.adam, amount=15)
    look: dict[str, Any] = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    with opened(without="the keys of the approvals inbox", **look) as browser:
        _signed(browser, scene.base, sign_in(scene.cast.anna))
        browser.goto(f"{scene.base}/approvals/")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        for key in ("j", "j", "k", "a"):
            browser.keyboard.press(key)
        assert browser.evaluate("document.activeElement.id") == f"approve-{scene.approval(first).pk}"
        assert scene.approval(first).state == "waiting"
        browser.keyboard.press("a")
        browser.get_by_text("was approved and runs now").wait_for()
        third = refund(scene, amount=99)
        browser.get_by_text("amount 99").wait_for()  # without loading the page again
        browser.keyboard.press("j")
        browser.keyboard.press("d")
        browser.get_by_label("Deny, because").wait_for()
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        browser.keyboard.press("d")
        browser.keyboard.type("Not today: ask again jakd.")
        browser.keyboard.press("Enter")
        browser.get_by_text("was denied").wait_for()
        assert [scene.approval(one).state for one in (first, second, third)] == ["approved", "denied", "waiting"]


def test_everything_works_without_script(scene: Review, sign_in: SignIn) -> None:
    job = refund(scene)
    with opened(without="that approvals can be given without script", java_script_enabled=False) as browser:
        _signed(browser, scene.base, sign_in(scene.cast.anna))
        browser.goto(f"{scene.base}/approvals/")
        browser.get_by_role("link", name="Details").click()
        browser.get_by_label("Ask").fill("Which shop?")
        browser.get_by_role("button", name="Ask").click()
        browser.get_by_text("Which shop?").wait_for()
        browser.get_by_role("button", name="Approve").click()
        browser.get_by_text("was approved and runs now").wait_for()
    assert scene.approval(job).state == "approved"
