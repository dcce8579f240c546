"""The page on which a person says yes or no: what it shows, what it says afterwards, how it looks."""

import asyncio
import contextlib
import datetime
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Page

from jobs import chores, confirm_pages, confirming, intent
from jobs.confirming import OPEN
from jobs.models import Confirmation
from jobs.sealed import seal_arguments
from policy.values import Refusal
from tests.admin.conftest import SignIn, sign_in
from tests.browser import opened
from tests.calling import Enter, enter
from tests.cast import Cast
from tests.gateway.confirming import NEITHER, Noting, govern, noting
from tests.gateway.conftest import host
from tests.host import Host
from tests.person import words
from tests.postgres import as_owner, rows
from tools import calls
from tools.calls import Pending
from tools.catalog import catalog
from tools.values import Origin

__all__ = ["host", "sign_in"]  # fixtures

Make = Callable[..., Host]


@pytest.fixture
def uma(cast: Cast, host: Make, tmp_path: Path) -> Noting:
    noting(cast, title="Leave a note", description="Leave a note in a file. Use it when asked.")
    return Noting(host(), tmp_path / "notes", NEITHER)


@pytest.fixture
def person(cast: Cast, sign_in: SignIn) -> Client:
    return sign_in(cast.uma)


def shown(person: Client, page: str) -> str:
    return words(person.get(page).content.decode())


def test_it_shows_what_would_run_with_what_for_whom_and_why(cast: Cast, uma: Noting, person: Client) -> None:
    govern(cast, {"name": "ask", "effect": "confirm", "message": "Notes are read by customers."})
    said = shown(person, uma.link("two\nlines"))
    assert "Run Leave a note ?" in said
    assert "test-host/1 wants to use it for you in Acme" in said
    assert "It can change or delete what is there, and that may be impossible to undo." in said
    assert "text two lines" in said
    assert "Its makers say Leave a note in a file." in said
    assert "Why you are asked Notes are read by customers." in said


def test_nothing_in_it_is_markup_or_unseen(uma: Noting, person: Client) -> None:
    page = person.get(uma.link("<b>bold</b> \u202eevil\u200b")).content.decode()
    assert "&lt;b&gt;bold&lt;/b&gt; [U+202E]evil[U+200B]" in page
    assert "Something is hidden in it." in page


def test_a_secret_argument_is_neither_shown_nor_kept(cast: Cast, host: Make, person: Client) -> None:
    schema = {
        "type": "object",
        "properties": {"user": {"type": "string"}, "password": {"type": "string", "writeOnly": True}},
    }
    cast.tool(cast.acme, "sign_in", input_schema=schema, read_only=False, destructive=True)
    answer = host().call("sign_in", {"user": "ann", "password": "correct horse"})
    page = answer.result["_meta"]["mcphub/refusal"]["askAt"].split("//")[1].partition("/")[2]
    said = shown(person, f"/{page}")
    assert "password (hidden)" in said
    assert "correct horse" not in said


def test_it_says_what_became_of_the_answer(uma: Noting, person: Client) -> None:
    page, other = uma.link(), uma.link("other")
    for one, answer in ((page, "yes"), (other, "no")):
        assert person.post(one, {"answer": answer}).headers["location"] == one
    assert "You said yes Go back to test-host/1" in shown(person, page)
    assert "You said no Nothing was run." in shown(person, other)
    uma.call()
    assert "It went ahead" in shown(person, page)
    assert not re.search("Yes, run it once", shown(person, page))


@pytest.mark.parametrize(
    "assignment",
    ["expires_at = now() - interval '1 second'", "answer = 'yes', answered_at = now() - interval '601 seconds'"],
)
def test_a_question_that_is_over_says_so_and_takes_no_answer(uma: Noting, person: Client, assignment: str) -> None:
    page = uma.link()
    with as_owner() as conn:
        query = f"UPDATE jobs_confirmation SET {assignment} WHERE id = %s"  # noqa: S608 - of ours
        conn.execute(query, [page.split("/")[2]])
    said = shown(person, page)
    assert "This question is over" in said
    assert "Yes, run it once" not in said


def test_one_whose_contents_no_key_opens_takes_no_answer(uma: Noting, person: Client) -> None:
    page = uma.link()
    with as_owner() as conn:
        conn.execute("UPDATE jobs_confirmation SET arguments = 'x' WHERE id = %s", [page.split("/")[2]])
    assert "This question is over" in shown(person, page)


def test_whoever_left_the_tenant_sees_it_no_longer(cast: Cast, uma: Noting, person: Client) -> None:
    page = uma.link()
    with cast.see(cast.acme):
        cast.acme.members.filter(user=cast.uma).update(active=False)
    assert person.get(page).status_code == 404


@pytest.fixture
def of_different_age(cast: Cast) -> list[object]:
    """Three questions: open, over, and over for a day."""
    made: list[object] = []
    with cast.see(cast.acme):
        for since in (0, OPEN + 60, OPEN + 86_400 + 60):
            row = Confirmation.objects.create(
                tenant=cast.acme,
                member=cast.member(cast.acme, cast.uma),
                tool="note",
                arguments=b"x",
                expires_at=timezone.now() + datetime.timedelta(seconds=OPEN - since),
            )
            made.append(row.pk)
    return made


async def test_what_is_over_for_a_day_is_forgotten(running: None, of_different_age: list[object]) -> None:
    await chores.forget()
    with as_owner() as conn:
        query = "SELECT id FROM jobs_confirmation WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
        left = rows(conn, query, of_different_age)
    assert [one for (one,) in left] == of_different_age[:2]


async def test_all_that_is_over_is_forgotten_however_much_it_is(
    running: None, cast: Cast, of_different_age: list[object]
) -> None:
    with as_owner() as conn:
        conn.execute(
            "INSERT INTO jobs_confirmation SELECT (jsonb_populate_record(c, jsonb_build_object('id',"
            " gen_random_uuid()))).* FROM jobs_confirmation c, generate_series(1, 2100) WHERE c.id = %s",
            [of_different_age[2]],
        )
        await chores.forget()
        # Of those that another process is at, as it forgets every minute, it is waited for what becomes.
        left = rows(conn, "SELECT id FROM jobs_confirmation WHERE tenant_id = %s FOR UPDATE", cast.acme.pk)
        index = rows(conn, "SELECT indexdef FROM pg_indexes WHERE tablename = 'jobs_confirmation'")
    assert len(left) == 2
    assert any("(expires_at)" in one for (one,) in index)


def test_an_answer_that_cannot_be_recorded_is_none(
    uma: Noting, person: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError

    page = uma.link()
    person.raise_request_exception = False
    with monkeypatch.context() as broken:
        broken.setattr(confirm_pages, "instance", fail)
        assert person.post(page, {"answer": "yes"}).status_code == 500
    assert uma.link() == page, "it is still open"


@dataclass(frozen=True)
class Crowd:
    """Calls that have to be asked about, of two members."""

    uma: Enter
    olga: Enter

    async def pending(self, who: Enter, **more: Any) -> Pending:
        offered = await catalog(who.caller.tenant_id, who.version)
        arguments = {"path": "/dev/null", "text": "hello", **more}
        found = await calls.prepare(who.caller, "note", arguments, catalog=offered, origin=Origin(via="cli"))
        assert isinstance(found, Pending)
        return found

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Another server is at a call of uma's."""
        with as_owner(autocommit=False) as conn:
            lock = "SELECT pg_advisory_xact_lock(hashtextextended('jobs_confirmation', %s))"
            conn.execute(lock, [self.uma.caller.member_id])
            yield


@pytest.fixture
def crowd(cast: Cast) -> Crowd:
    noting(cast, input_schema={"type": "object"})
    return Crowd(enter(cast, cast.uma), enter(cast, cast.olga))


async def test_calls_that_wait_for_their_turn_leave_the_connections_to_others(running: None, crowd: Crowd) -> None:
    mine, others = await crowd.pending(crowd.uma), await crowd.pending(crowd.olga)
    with crowd.busy():
        waiting = [asyncio.create_task(confirming.claim(mine)) for _ in range(2 * settings.DATABASE_POOL)]
        asked = await asyncio.wait_for(confirming.claim(others), 5)
    assert isinstance(asked, confirming.Open)
    found = await asyncio.gather(*waiting)
    assert len({one.id for one in found if isinstance(one, confirming.Open)}) == 1
    assert all(isinstance(one, confirming.Open) for one in found)


async def test_whose_turn_does_not_come_is_told_to_call_again(
    running: None, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await crowd.pending(crowd.uma)
    monkeypatch.setattr(confirming, "_PAUSES", (0.0,))
    with crowd.busy():
        told = await confirming.claim(mine)
    assert isinstance(told, Refusal)
    assert (told.reason, told.retryable) == ("too_many_questions", True)


async def test_a_question_is_written_out_in_a_thread_before_it_is_the_calls_turn(
    running: None, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await crowd.pending(crowd.uma)
    seen: list[tuple[bool, bool]] = []

    def look(shown: dict[str, Any]) -> bytes:
        with as_owner() as conn:
            lock = "SELECT pg_try_advisory_xact_lock(hashtextextended('jobs_confirmation', %s))"
            ((free,),) = rows(conn, lock, crowd.uma.caller.member_id)
        seen.append((threading.current_thread() is threading.main_thread(), free))
        return seal_arguments(shown)

    monkeypatch.setattr(confirming, "seal_arguments", look)
    assert isinstance(await confirming.claim(mine), confirming.Open)
    assert seen == [(False, True)]


async def test_of_very_many_arguments_no_more_are_written_out_than_could_be_shown(
    running: None, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = await crowd.pending(crowd.uma, **{f"name{number}": number for number in range(12_000)})
    few = await crowd.pending(crowd.uma, **{f"name{number}": number for number in range(intent.MOST_LINES - 2)})
    written: list[str] = []

    def name(one: str) -> str:
        written.append(one)
        return one

    monkeypatch.setattr(intent, "_named", name)
    assert not intent.fits_a_message(intent.intent_of(many.ready))
    assert intent.sheet(intent.intent_of(many.ready)) is None
    assert 0 < len(written) < 100
    shown = intent.sheet(intent.intent_of(few.ready))
    assert shown is not None
    assert len(shown["arguments"]) == intent.MOST_LINES


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_read_and_answered_on_a_narrow_screen_by_keyboard(
    cast: Cast, uma: Noting, hub: list[str], scheme: str
) -> None:
    long = "The lamp flickers in rain.\n\nTold engineering. " + "wet" * 60
    path = uma.link(long)
    look: dict[str, Any] = {"viewport": {"width": 360, "height": 900}, "color_scheme": scheme}
    with opened(without="that a call can be confirmed in a browser", **look) as page:
        _open(page, hub[0], cast, path)
        assert page.get_by_role("heading", name="Run Leave a note?").is_visible()
        assert page.get_by_text("Told engineering.").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.get_by_role("button", name="Yes, run it once").focus()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="You said yes").wait_for()
    assert not uma.call(long).result["isError"]
    assert len(uma.lines) == 3


def _open(page: Page, base: str, cast: Cast, path: str) -> None:
    """Signing in on the way, as somebody does who was sent the link."""
    page.goto(f"{base}{path}")
    page.fill("[name=login]", cast.uma.username)
    page.fill("[name=password]", cast.password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"**{path}")
