"""The page on which a person says yes or no: what it shows, what it says afterwards, how it looks."""

import datetime
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Page

from jobs import chores
from jobs.confirming import OPEN
from jobs.models import Confirmation
from tests.admin.conftest import SignIn, sign_in
from tests.browser import opened
from tests.cast import Cast
from tests.gateway.confirming import NEITHER, Noting, govern, noting
from tests.gateway.conftest import host
from tests.host import Host
from tests.person import words
from tests.postgres import as_owner, rows

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
        left = rows(conn, "SELECT id FROM jobs_confirmation WHERE id = ANY(%s) ORDER BY id", of_different_age)
    assert [one for (one,) in left] == of_different_age[:2]


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
