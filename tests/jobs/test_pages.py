"""The portal's pages of jobs: whose they show, what they say, what they let people do."""

import contextlib
import datetime
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from django.test import Client
from django.utils import timezone

from audit.models import Entry
from jobs.models import Job, State
from jobs.sealed import unseal_arguments
from lib.ids import uuid7
from tenants import actions as tenant_actions
from tenants.models import Member, Role, Scope, User
from tests.admin.conftest import SignIn, sign_in
from tests.browser import opened
from tests.cast import Cast
from tests.jobs.desk import keep_workers_away
from tests.jobs.made import made, slow_tool
from tools import actions as tool_actions
from tools.values import ResourceLink, Result, Text

__all__ = ["sign_in"]  # a fixture

AtHub = Callable[[User], "Signed"]
PART = {"HX-Request": "true"}


def _page(client: Client, job: Job, part: str = "") -> Any:
    return client.get(f"/jobs/{job.pk}/{part}")


def _fresh(cast: Cast, job: Job) -> Job:
    with cast.see():
        return Job.objects.get(pk=job.pk)


def test_the_list_shows_ones_own_jobs_of_all_tenants_and_nobody_elses(cast: Cast, sign_in: SignIn) -> None:
    acme, beta = slow_tool(cast, name="echo"), slow_tool(cast, cast.beta, name="shout")
    with cast.see():
        tenant_actions.add_member(cast.beta, cast.uma, role=Role.USER, actor="system")
    for owner, tool in ((cast.uma, acme), (cast.uma, beta), (cast.adam, acme), (cast.bob, beta)):
        made(cast, owner, tool)
    shown = sign_in(cast.uma).get("/jobs/").content.decode()
    assert re.findall(r'href="/jobs/[0-9a-f-]{36}/">(\w+)</a>', shown) == ["shout", "echo"]
    assert "Acme" in shown
    assert "Beta" in shown


def test_an_empty_list_says_what_will_be_here_and_the_next_step(cast: Cast, sign_in: SignIn) -> None:
    shown = sign_in(cast.uma).get("/jobs/").content.decode()
    assert "Nothing has run as a job yet" in shown
    assert f'href="/t/{cast.acme.slug}/"' in shown


def test_older_jobs_are_a_page_away(cast: Cast, sign_in: SignIn) -> None:
    tool, now = slow_tool(cast), timezone.now()
    for minutes in range(32):
        made(cast, cast.uma, tool, State.SUCCEEDED, created_at=now - datetime.timedelta(minutes=minutes))
    client = sign_in(cast.uma)
    first = client.get("/jobs/")
    assert len(first.context["jobs"]) == 30
    older = client.get("/jobs/", {"before": first.context["older"]})
    assert len(older.context["jobs"]) == 2
    assert not older.context["older"]


@pytest.mark.parametrize("wrong", ["x", "2026", "9" * 5000, "2026-01-01T00:00:00", "\x00"])
def test_a_wrong_page_is_the_first(cast: Cast, sign_in: SignIn, wrong: str) -> None:
    made(cast, cast.uma, slow_tool(cast))
    assert len(sign_in(cast.uma).get("/jobs/", {"before": wrong}).context["jobs"]) == 1


def test_a_stranger_signs_in_first_and_a_live_part_is_told_to_load_anew(cast: Cast) -> None:
    job = made(cast, cast.uma, slow_tool(cast))
    assert _page(Client(), job).url == f"/accounts/login/?next=/jobs/{job.pk}/"
    answer = Client().get(f"/jobs/{job.pk}/live", headers=PART)
    assert (answer.status_code, answer["HX-Refresh"], answer.content) == (204, "true", b"")


SEERS: dict[str, tuple[Callable[[Cast], User], int, int]] = {
    "whose call it was": (lambda cast: cast.uma, 200, 302),
    "the owner": (lambda cast: cast.olga, 200, 302),
    "an admin": (lambda cast: cast.adam, 200, 302),
    "an auditor": (lambda cast: cast.audrey, 200, 404),
    "an approver": (lambda cast: cast.anna, 404, 404),
    "somebody of another tenant": (lambda cast: cast.bob, 404, 404),
    "platform staff": (lambda cast: cast.staff, 200, 302),
}


@pytest.mark.parametrize(("who", "sees", "stops"), SEERS.values(), ids=SEERS.keys())
def test_a_job_is_seen_and_stopped_by_whom_the_rules_name(
    cast: Cast, sign_in: SignIn, who: Callable[[Cast], User], sees: int, stops: int
) -> None:
    job = made(cast, cast.uma, slow_tool(cast))
    client = sign_in(who(cast))
    assert [_page(client, job, part).status_code for part in ("", "live")] == [sees, sees]
    assert client.post(f"/jobs/{job.pk}/cancel").status_code == stops
    assert (_fresh(cast, job).cancel_at is not None) is (stops == 302)


def test_a_foreign_an_unknown_and_another_members_job_get_the_same_answer(cast: Cast, sign_in: SignIn) -> None:
    foreign = made(cast, cast.bob, slow_tool(cast, cast.beta))
    others = made(cast, cast.adam, slow_tool(cast))
    client = sign_in(cast.uma)
    for path in ("", "live", "cancel", "repeat"):
        ask = client.get if path in ("", "live") else client.post
        answers = [ask(f"/jobs/{one}/{path}") for one in (foreign.pk, others.pk, uuid7())]
        assert {answer.status_code for answer in answers} == {404}, path
        passing = r'[0-9a-f-]{36}|value="\w{64}"'  # the id that was asked for, and what guards the form to sign out
        assert len({re.sub(passing, "", answer.content.decode()) for answer in answers}) == 1


def test_whoever_left_the_tenant_no_longer_sees_the_job(cast: Cast, sign_in: SignIn) -> None:
    job = made(cast, cast.uma, slow_tool(cast))
    client = sign_in(cast.uma)
    with cast.see(cast.acme):
        Member.objects.filter(tenant=cast.acme, user=cast.uma).update(active=False)
    assert _page(client, job).status_code == 404
    assert client.get("/jobs/").context["jobs"] == []


def test_progress_is_a_bar_where_the_total_is_known_and_a_count_where_not(cast: Cast, sign_in: SignIn) -> None:
    tool, client = slow_tool(cast), sign_in(cast.uma)
    known = made(cast, cast.uma, tool, progress=3, total=12, message="reading <b>page</b> 3")
    shown = _page(client, known).content.decode()
    assert '<progress max="1" value="0.2500"' in shown
    assert "25%, reading &lt;b&gt;page&lt;/b&gt; 3" in shown
    unknown = _page(client, made(cast, cast.uma, tool, progress=170)).content.decode()
    assert '<progress max="1" aria-label' in unknown
    assert "170 so far" in unknown


def test_the_live_part_is_empty_until_something_changed_and_ends_with_the_job(cast: Cast, sign_in: SignIn) -> None:
    job, client = made(cast, cast.uma, slow_tool(cast), progress=1, total=2), sign_in(cast.uma)
    page = _page(client, job)
    address = f"/jobs/{job.pk}/live?mark={page.context['mark']}&state=running"
    assert client.get(address, headers=PART).status_code == 204
    _change(cast, job, progress=1.5, changed_at=timezone.now())
    moved = client.get(address, headers=PART)
    assert 'value="0.7500"' in moved.content.decode()
    assert "hx-get=" in moved.content.decode()
    assert "job-said" not in moved.content.decode()  # nothing to read aloud: it runs as before
    now = timezone.now()
    _change(cast, job, state="succeeded", lease_until=None, ended_at=now, changed_at=now, expires_at=now)
    ended = client.get(address, headers=PART).content.decode()
    assert "hx-get=" not in ended
    assert 'hx-swap-oob="innerHTML:#job-said">echo: succeeded<' in ended


def _change(cast: Cast, job: Job, **fields: Any) -> None:
    with cast.see():
        Job.objects.filter(pk=job.pk).update(**fields)


def test_a_result_is_shown_escaped_and_only_web_links_can_be_followed(cast: Cast, sign_in: SignIn) -> None:
    result = Result(
        content=(
            Text(text="<script>alert(1)</script>"),
            Text(text='{"open": 12}'),
            ResourceLink(uri="https://hub.example/r/x", name="whole"),
            ResourceLink(uri="javascript:alert(1)", name="trap"),
        )
    )
    job = made(cast, cast.uma, slow_tool(cast), State.SUCCEEDED, result=result)
    shown = _page(sign_in(cast.uma), job).content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert '<span class="mh-json-key">&quot;open&quot;</span>' in shown
    assert 'href="https://hub.example/r/x"' in shown
    assert "javascript:" not in shown
    assert "trap" in shown


def test_arguments_are_shown_redacted_and_never_from_what_is_sealed(cast: Cast, sign_in: SignIn) -> None:
    job = made(cast, cast.uma, slow_tool(cast), arguments={"password": "hunter2"}, preview={"password": "[redacted]"})
    shown = _page(sign_in(cast.uma), job).content.decode()
    assert "[redacted]" in shown
    assert "hunter2" not in shown


def test_an_interrupted_job_says_that_it_may_have_taken_effect(cast: Cast, sign_in: SignIn) -> None:
    job = made(cast, cast.uma, slow_tool(cast), State.INTERRUPTED, reason="process_gone")
    shown = _page(sign_in(cast.uma), job).content.decode()
    assert "It may have taken effect; check before calling again." in shown
    assert "process_gone" in shown


def test_the_timeline_is_what_the_ledger_says_of_the_job(cast: Cast, sign_in: SignIn) -> None:
    job, client = made(cast, cast.uma, slow_tool(cast), State.QUEUED), sign_in(cast.uma)
    client.post(f"/jobs/{job.pk}/cancel")
    shown = _page(client, job).content.decode()
    assert "Job cancelled" in shown
    assert f"by {cast.uma.username}" in shown
    with cast.see(cast.acme):
        found = Entry.objects.filter(tenant_id=cast.acme.pk, subject=f"job {job.pk}").values_list("event", flat=True)
        assert list(found) == ["job.cancelled"]


def test_stopping_ends_a_waiting_job_at_once_and_asks_a_running_one(cast: Cast, sign_in: SignIn) -> None:
    tool, client = slow_tool(cast), sign_in(cast.uma)
    waiting, running = made(cast, cast.uma, tool, State.QUEUED), made(cast, cast.uma, tool)
    for job in (waiting, running):
        client.post(f"/jobs/{job.pk}/cancel")
    assert (_fresh(cast, waiting).state, _fresh(cast, running).state) == ("cancelled", "running")
    assert "Stopping" in _page(client, running).content.decode()
    assert client.get(f"/jobs/{running.pk}/cancel").status_code == 405


def test_a_forged_form_stops_and_repeats_nothing(cast: Cast) -> None:
    job = made(cast, cast.uma, slow_tool(cast), State.QUEUED)
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.uma)
    assert [client.post(f"/jobs/{job.pk}/{verb}").status_code for verb in ("cancel", "repeat")] == [403, 403]
    assert _fresh(cast, job).state == "queued"


def test_only_what_ended_and_is_remembered_is_offered_again(cast: Cast, sign_in: SignIn) -> None:
    tool, client = slow_tool(cast), sign_in(cast.uma)
    for job, offered in (
        (made(cast, cast.uma, tool, State.SUCCEEDED), True),
        (made(cast, cast.uma, tool, State.FAILED), True),
        (made(cast, cast.uma, tool), False),
        (made(cast, cast.uma, tool, State.SUCCEEDED, expires_at=None, arguments=None), False),
    ):
        assert (b"Run it again" in _page(client, job).content) is offered
    assert b"Run it again" not in _page(sign_in(cast.audrey), job).content
    assert b"Run it again" not in _page(sign_in(cast.staff), job).content  # staff is no member to run it as


def test_repeating_what_is_not_idempotent_asks_once_more(cast: Cast, sign_in: SignIn) -> None:
    job = made(cast, cast.uma, slow_tool(cast, read_only=False), State.INTERRUPTED)
    asked = sign_in(cast.uma).post(f"/jobs/{job.pk}/repeat")
    assert asked.status_code == 200
    assert "may then be done twice" in asked.content.decode()
    with cast.see(cast.acme):
        assert Job.objects.count() == 1


# On a running hub: repeating waits for its ledger and its queue.


@pytest.fixture
def at_hub(hub: list[str], sign_in: SignIn) -> Iterator[AtHub]:
    """Browsers at the running hub."""
    with contextlib.ExitStack() as stack:

        def browser(user: User) -> Signed:
            signed = Signed(hub[0], sign_in(user))
            stack.enter_context(signed.http)
            return signed

        yield browser


class Signed:
    """A signed-in person's browser at a running hub, in plain HTTP."""

    def __init__(self, url: str, client: Client) -> None:
        cookies = {name: morsel.value for name, morsel in client.cookies.items()}
        self.http = httpx2.Client(base_url=url, cookies=cookies, follow_redirects=False, trust_env=False)

    def press(self, page: str, action: str, **fields: str) -> httpx2.Response:
        token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', self.http.get(page).text)[-1]
        return self.http.post(action, data={"csrfmiddlewaretoken": token, **fields}, headers={"Referer": page})

    def repeat(self, job: Job, **fields: str) -> httpx2.Response:
        return self.press(f"/jobs/{job.pk}/", f"/jobs/{job.pk}/repeat", **fields)


def _others(cast: Cast, *besides: Job) -> list[Job]:
    with cast.see(cast.acme):
        return list(Job.objects.exclude(pk__in=[job.pk for job in besides]).order_by("created_at"))


def test_a_job_is_repeated_as_whoever_presses_with_the_arguments_it_had(cast: Cast, at_hub: AtHub) -> None:
    keep_workers_away(cast, cast.acme)
    arguments = {"text": "hello", "secret": "s3cr3t"}
    schema = {"type": "object", "properties": {"text": {"type": "string"}, "secret": {"type": "string"}}}
    old = made(cast, cast.uma, slow_tool(cast, input_schema=schema), State.SUCCEEDED, arguments=arguments)
    answer = at_hub(cast.adam).repeat(old)
    (new,) = _others(cast, old)
    assert answer.headers["location"] == f"/jobs/{new.pk}/"
    assert (new.username, new.credential, new.via) == (cast.adam.username, "admin", "portal")
    assert new.member_id == cast.member(cast.acme, cast.adam).pk
    assert unseal_arguments(new.arguments or b"") == arguments
    assert new.preview == {"text": "hello", "secret": "[redacted]"}


def test_pressing_twice_starts_it_once_and_the_old_job_is_never_joined(cast: Cast, at_hub: AtHub) -> None:
    keep_workers_away(cast, cast.acme)
    tool, browser = slow_tool(cast, replay_seconds=3600), at_hub(cast.uma)
    ended = made(cast, cast.uma, tool, State.SUCCEEDED)
    browser.repeat(ended)
    browser.repeat(ended)
    (again,) = _others(cast, ended)
    now = timezone.now()
    before = {"created_at": now - datetime.timedelta(minutes=5), "ended_at": now, "expires_at": now}
    _change(cast, again, state="succeeded", **(before | {"expires_at": now + datetime.timedelta(hours=1)}))
    browser.repeat(again)
    assert len(_others(cast, ended)) == 2


def test_repeating_needs_what_the_presser_may_do_now(cast: Cast, at_hub: AtHub) -> None:
    cast.scopes(cast.acme, {"reports.make": "Make reports"})
    tool = slow_tool(cast, scopes=["reports.make"])
    job, browser = made(cast, cast.uma, tool, State.FAILED), at_hub(cast.olga)
    with cast.see(cast.acme):
        Scope.objects.filter(tenant=cast.acme, name="reports.make").update(roles=["user"])
    browser.repeat(job)
    assert _others(cast, job) == []


def test_a_tool_that_is_gone_is_said_and_nothing_runs(cast: Cast, at_hub: AtHub) -> None:
    tool, browser = slow_tool(cast), at_hub(cast.uma)
    job = made(cast, cast.uma, tool, State.FAILED)
    with cast.see(cast.acme):
        tool_actions.set_enabled(tool, False, actor=cast.olga)
    answer = browser.repeat(job)
    assert answer.headers["location"] == f"/jobs/{job.pk}/"
    assert "There is no tool named" in browser.http.get(answer.headers["location"]).text
    assert _others(cast, job) == []


def test_a_sure_person_repeats_what_is_not_idempotent(cast: Cast, at_hub: AtHub) -> None:
    keep_workers_away(cast, cast.acme)
    browser = at_hub(cast.uma)
    job = made(cast, cast.uma, slow_tool(cast, read_only=False), State.INTERRUPTED)
    assert browser.repeat(job).status_code == 200
    assert _others(cast, job) == []
    assert browser.repeat(job, sure="yes").status_code == 302
    assert len(_others(cast, job)) == 1


# In a browser


def _sign_in_at(page: Any, hub: str, client: Client) -> None:
    page.context.add_cookies([{"name": name, "value": one.value, "url": hub} for name, one in client.cookies.items()])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_follows_its_job_without_being_loaded_again(
    cast: Cast, sign_in: SignIn, hub: list[str], scheme: str
) -> None:
    job = made(cast, cast.uma, slow_tool(cast), progress=1, total=4, message="reading page 1")
    look: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "color_scheme": scheme}
    with opened(without="that a job's page is live", **look) as page:
        _sign_in_at(page, hub[0], sign_in(cast.uma))
        page.goto(f"{hub[0]}/jobs/{job.pk}/")
        page.evaluate("window.kept = true")
        assert page.locator("progress").get_attribute("value") == "0.2500"
        _change(cast, job, progress=3, message="reading page 3", changed_at=timezone.now())
        page.get_by_text("75%, reading page 3").wait_for()
        now = timezone.now()
        _change(
            cast, job, state="succeeded", lease_until=None, ended_at=now, changed_at=now,
            expires_at=now + datetime.timedelta(hours=1),
        )  # fmt: skip
        page.get_by_role("button", name="Run it again").wait_for()
        assert page.locator("#job-said").inner_text() == "echo: succeeded"
        assert page.evaluate("window.kept") is True
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_list_follows_its_jobs_until_the_last_has_ended(cast: Cast, sign_in: SignIn, hub: list[str]) -> None:
    tool = slow_tool(cast)
    job = made(cast, cast.uma, tool, progress=1, total=4)
    with opened(without="that the list of jobs is live", viewport={"width": 360, "height": 740}) as page:
        _sign_in_at(page, hub[0], sign_in(cast.uma))
        page.goto(f"{hub[0]}/jobs/")
        page.get_by_text("25%").wait_for()
        now = timezone.now()
        _change(cast, job, state="failed", reason="x", lease_until=None, ended_at=now, changed_at=now)
        page.get_by_text("Failed").wait_for()
        assert page.locator("#jobs").get_attribute("hx-get") is None


def test_everything_works_without_script(cast: Cast, sign_in: SignIn, hub: list[str]) -> None:
    keep_workers_away(cast, cast.acme)
    made(cast, cast.uma, slow_tool(cast), State.QUEUED)
    with opened(without="that jobs can be used without script", java_script_enabled=False) as page:
        _sign_in_at(page, hub[0], sign_in(cast.uma))
        page.goto(f"{hub[0]}/jobs/")
        page.get_by_role("link", name="echo").click()
        page.get_by_role("link", name="Look again").wait_for()
        page.get_by_role("button", name="Stop echo").click()
        page.get_by_text("echo was told to stop.").wait_for()
        page.get_by_role("button", name="Run it again").click()
        page.get_by_text("echo runs again, as this job.").wait_for()
