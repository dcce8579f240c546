"""Jobs in the admin: a tenant's jobs for its roles, allowances, hooks, the hub's numbers, and how a tool runs."""

import datetime
import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit.models import Event
from jobs import own_tools
from jobs.health import health
from jobs.models import Allowance, Delivery, Hook, Job, State
from lib import seal
from lib.ids import uuid7
from tenants.models import User
from tests.admin.conftest import SignIn, entries, form_of
from tests.browser import opened
from tests.cast import Cast
from tests.jobs.made import made, slow_tool
from tools.lint import Level, Running, lint
from tools.models import Runs, Tool
from tools.vocabulary import RESERVED

JOBS = "/admin/jobs/job/"
ROLES: dict[str, tuple[Callable[[Cast], User], int]] = {
    "owner": (lambda cast: cast.olga, 200),
    "admin": (lambda cast: cast.adam, 200),
    "auditor": (lambda cast: cast.audrey, 200),
    "approver": (lambda cast: cast.anna, 302),  # who has nothing to do in the admin is led to signing in
    "user": (lambda cast: cast.uma, 302),
    "staff": (lambda cast: cast.staff, 200),
}


@pytest.mark.parametrize(("who", "status"), ROLES.values(), ids=ROLES.keys())
def test_a_tenants_jobs_are_read_by_the_roles_that_read_its_ledger(
    cast: Cast, sign_in: SignIn, who: Callable[[Cast], User], status: int
) -> None:
    job, client = made(cast, cast.uma, slow_tool(cast)), sign_in(who(cast))
    answers = [client.get(f"{JOBS}?tenant={cast.acme.pk}"), client.get(f"{JOBS}{job.pk}/change/")]
    assert [answer.status_code for answer in answers] == [status, status]
    assert (str(job.pk) in answers[0].content.decode()) is (status == 200)


@pytest.mark.parametrize(("who", "stops"), [("olga", True), ("adam", True), ("audrey", False)])
def test_owner_and_admin_stop_and_repeat_while_an_auditor_only_reads(
    cast: Cast, sign_in: SignIn, who: str, stops: bool
) -> None:
    tool, client = slow_tool(cast), sign_in(getattr(cast, who))
    running, ended = made(cast, cast.uma, tool), made(cast, cast.uma, tool, State.FAILED)
    shown = client.get(f"{JOBS}{running.pk}/change/").content.decode()
    again = client.get(f"{JOBS}{ended.pk}/change/").content.decode()
    assert ("Stop echo" in shown, "Run it again as yourself" in again) == (stops, stops)
    answer = client.post(f"/jobs/{running.pk}/cancel", {"in": "admin"})
    assert answer.status_code == (302 if stops else 404)
    if stops:
        assert answer["Location"] == f"{JOBS}{running.pk}/change/"


def test_another_tenants_job_is_not_there(cast: Cast, olga: Client) -> None:
    foreign = made(cast, cast.bob, slow_tool(cast, cast.beta))
    assert str(foreign.pk) not in olga.get(JOBS).content.decode()
    for one in (foreign.pk, uuid7(), "x", "1"):
        assert olga.get(f"{JOBS}{one}/change/").status_code == 404


def test_nobody_adds_changes_or_deletes_a_job_by_hand(cast: Cast, sign_in: SignIn) -> None:
    job = made(cast, cast.uma, slow_tool(cast))
    for user in (cast.olga, cast.staff):
        client = sign_in(user)
        assert client.get(f"{JOBS}add/").status_code == 403
        assert client.post(f"{JOBS}{job.pk}/change/", {"state": "failed"}).status_code == 403
        assert client.post(f"{JOBS}{job.pk}/delete/", {"post": "yes"}).status_code == 403
    with cast.see():
        assert Job.objects.get(pk=job.pk).state == "running"


def test_the_list_is_filtered_by_tenant_state_and_tool_and_by_nothing_sealed(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.staff)
    failed = made(cast, cast.uma, slow_tool(cast), State.FAILED)
    other = made(cast, cast.bob, slow_tool(cast, cast.beta, "shout"))
    for asked in ({"tenant": cast.acme.pk}, {"state__exact": "failed", "tool": "echo"}):
        shown = client.get(JOBS, asked).content.decode()
        assert (str(failed.pk) in shown, str(other.pk) in shown) == (True, False), asked
    assert client.get(JOBS, {"arguments__contains": "x"}).status_code == 400


def test_an_empty_list_says_what_will_be_here(olga: Client) -> None:
    assert "Tools that take long run as jobs" in olga.get(JOBS).content.decode()


# Allowances


def test_staff_gives_a_tenant_an_allowance_and_its_owner_only_reads_it(
    cast: Cast, sign_in: SignIn, olga: Client
) -> None:
    staff, add = sign_in(cast.staff), f"/admin/jobs/allowance/add/?tenant={cast.acme.pk}"
    assert form_of(staff, add) == {"running": 8, "queued": 1000}
    assert staff.post(add, form_of(staff, add, running=2)).status_code == 302
    with cast.see(cast.acme):
        assert Allowance.objects.values_list("running", "queued").get(tenant=cast.acme) == (2, 1000)
    page = f"/admin/jobs/allowance/{cast.acme.pk}/change/"
    assert staff.get(add)["Location"] == page
    assert olga.get(page).status_code == 200
    assert olga.post(page, {"running": 99, "queued": 99}).status_code == 403
    assert olga.get("/admin/jobs/allowance/add/").status_code == 403
    (entry,) = entries(cast, cast.acme, event=Event.CHANGED, subject__startswith="jobs.Allowance")
    assert (entry.detail or {})["after"]["running"] == 2


@pytest.mark.parametrize("wrong", [0, -1, "x", ""])
def test_an_allowance_is_at_least_one(cast: Cast, sign_in: SignIn, wrong: Any) -> None:
    staff, add = sign_in(cast.staff), f"/admin/jobs/allowance/add/?tenant={cast.acme.pk}"
    assert "running" in staff.post(add, form_of(staff, add, running=wrong)).context["adminform"].form.errors


# Hooks

ADD_HOOK = "/admin/jobs/hook/add/"
URL = "https://ci.example.com/jobs"


def _secret(page: Any) -> str:
    (secret,) = re.findall(r'<code id="new-secret">(.*?)</code>', page.content.decode())
    return html.unescape(secret)


def test_a_hooks_secret_is_shown_once_sealed_and_in_no_entry(cast: Cast, olga: Client) -> None:
    page = olga.post(ADD_HOOK, form_of(olga, ADD_HOOK) | {"url": URL})
    assert "no-store" in page["Cache-Control"]
    secret = _secret(page)
    with cast.see(cast.acme):
        hook = Hook.objects.get(tenant=cast.acme)
    assert seal.unseal(hook.secret) == secret
    for address in ("/admin/jobs/hook/", f"/admin/jobs/hook/{hook.pk}/change/"):
        assert secret not in olga.get(address).content.decode()
    assert secret not in str([entry.detail for entry in entries(cast, cast.acme)])


def test_renewing_asks_first_and_shows_another_secret(cast: Cast, olga: Client) -> None:
    first = _secret(olga.post(ADD_HOOK, form_of(olga, ADD_HOOK) | {"url": URL}))
    with cast.see(cast.acme):
        page = f"/admin/jobs/hook/{Hook.objects.get(tenant=cast.acme).pk}/secret/"
    assert "signed with the new secret" in olga.get(page).content.decode()
    second = _secret(olga.post(page))
    assert first != second
    with cast.see(cast.acme):
        assert seal.unseal(Hook.objects.get(tenant=cast.acme).secret) == second


@pytest.mark.parametrize("wrong", ["https://ci.example.com/#x", "https://a:b@ci.example.com/", "ftp://x.example/", "x"])
def test_a_hook_that_would_not_be_sent_to_is_refused_beside_its_field(cast: Cast, olga: Client, wrong: str) -> None:
    page = olga.post(ADD_HOOK, form_of(olga, ADD_HOOK) | {"url": wrong})
    assert set(page.context["adminform"].form.errors) == {"url"}


def test_a_hook_is_changed_switched_off_and_deleted_with_an_entry_each(cast: Cast, olga: Client) -> None:
    olga.post(ADD_HOOK, form_of(olga, ADD_HOOK) | {"url": URL})
    with cast.see(cast.acme):
        hook = Hook.objects.get(tenant=cast.acme)
    page = f"/admin/jobs/hook/{hook.pk}/change/"
    given = form_of(olga, page) | {"url": f"{URL}/2"}
    del given["enabled"]
    assert olga.post(page, given).status_code == 302
    with cast.see(cast.acme):
        hook.refresh_from_db()
    assert (hook.url, hook.enabled) == (f"{URL}/2", False)
    olga.post(f"/admin/jobs/hook/{hook.pk}/delete/", {"post": "yes"})
    with cast.see(cast.acme):
        assert not Hook.objects.exists()
    said = [entry.reason for entry in entries(cast, cast.acme, subject__startswith="jobs.Hook")]
    assert said == ["created", "changed", "deleted"]


@pytest.mark.parametrize("who", ["audrey", "uma", "bob"])
def test_hooks_are_for_those_who_manage_the_tenant(cast: Cast, sign_in: SignIn, olga: Client, who: str) -> None:
    olga.post(ADD_HOOK, form_of(olga, ADD_HOOK) | {"url": URL})
    with cast.see(cast.acme):
        hook = Hook.objects.get(tenant=cast.acme)
    client = sign_in(getattr(cast, who))
    assert client.post(f"/admin/jobs/hook/{hook.pk}/secret/").status_code in (302, 403, 404)
    assert URL not in client.get("/admin/jobs/hook/").content.decode()


def test_what_was_sent_is_listed_with_what_came_back(cast: Cast, olga: Client) -> None:
    job = made(cast, cast.uma, slow_tool(cast), State.SUCCEEDED)
    olga.post(ADD_HOOK, form_of(olga, ADD_HOOK) | {"url": URL})
    with cast.see(cast.acme):
        hook = Hook.objects.get(tenant=cast.acme)
        Delivery.objects.create(
            tenant=cast.acme, hook=hook, job=job, state="given_up", attempts=7, due_at=timezone.now(),
            tried_at=timezone.now(), status=500, said="<oops>",
        )  # fmt: skip
    shown = olga.get("/admin/jobs/delivery/").content.decode()
    assert "500 &lt;oops&gt;" in shown
    assert f"{JOBS}{job.pk}/change/" in shown
    assert f'<a href="/admin/jobs/hook/{hook.pk}/change/">{URL}</a>' in shown


# The whole hub


def test_staff_sees_how_the_hub_does_on_the_first_page_and_nobody_else(
    cast: Cast, sign_in: SignIn, olga: Client
) -> None:
    long_ago = timezone.now() - datetime.timedelta(minutes=9)
    keep_away = Allowance(tenant=cast.acme, running=1)
    with cast.see(cast.acme):
        keep_away.save()
    tool = slow_tool(cast)
    made(cast, cast.uma, tool)  # runs, so that no worker takes the one that waits
    made(cast, cast.uma, tool, State.QUEUED, due_at=long_ago)
    made(cast, cast.uma, tool, State.INTERRUPTED)
    seen = health()
    assert seen.queued >= 1
    assert seen.failed >= 1
    assert seen.late
    shown = sign_in(cast.staff).get("/admin/").content.decode()
    assert "Jobs of the whole hub" in shown
    assert "mh-alarm" in shown
    assert "Jobs of the whole hub" not in olga.get("/admin/").content.decode()


# How a tool runs


def _change(tool: Tool) -> str:
    return reverse("admin:tools_tool_change", args=[tool.pk])


def test_the_editor_stores_how_a_tool_runs_and_publishing_freezes_it(cast: Cast, olga: Client) -> None:
    tool = cast.tool(cast.acme, "echo")
    said = {"runs": "automatic", "wait": 5, "most_attempts": 2, "replay_seconds": 0, "keep_hours": 48}
    said |= {"patience_minutes": 10, "priority": -3, "task_required": "on", "timeout": 7200}
    page = olga.post(_change(tool), form_of(olga, _change(tool), _review="1", **said))
    assert page.status_code == 302, page.context["adminform"].form.errors
    review = olga.get(page["Location"]).content.decode()
    assert "Seconds a host waits for the job" in review
    with cast.see(cast.acme):
        draft = Tool.objects.get(pk=tool.pk)
    assert {name: getattr(draft, name) for name in said} == said | {"task_required": True}


WRONG: dict[str, tuple[dict[str, Any], set[str]]] = {
    "a host that waits too long": ({"runs": "automatic", "wait": 21}, {"wait"}),
    "no way that exists": ({"runs": "sometimes"}, {"runs"}),
    "an hour while the host waits": ({"timeout": 3601}, {"timeout"}),
    "tasks of what is no job": ({"task_required": "on"}, {"task_required"}),
    "more than a day": ({"runs": "background", "timeout": 86401}, {"timeout"}),
    "urgent beyond measure": ({"runs": "background", "priority": 11}, {"priority"}),
    "the name of a tool of the hub's": ({"name": "get_job_status"}, {"name"}),
}


@pytest.mark.parametrize(("given", "beside"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_is_said_beside_its_field(
    cast: Cast, olga: Client, given: dict[str, Any], beside: set[str]
) -> None:
    tool = cast.draft(cast.acme, "echo")
    page = olga.post(_change(tool), form_of(olga, _change(tool), _save="1", **given))
    assert set(page.context["adminform"].form.errors) == beside


def test_the_reserved_names_are_those_of_the_hubs_own_tools() -> None:
    assert {*own_tools.OWN} == RESERVED


MANIFEST = {"name": "export_report", "description": "x", "inputSchema": {"type": "object"}, "annotations": {}}
LONG: dict[str, tuple[Running, bool]] = {
    "short": (Running(timeout=25), False),
    "long": (Running(timeout=26), True),
    "long, as a job": (Running(runs=Runs.BACKGROUND, timeout=7200), False),
    "asynchronous upstream": (Running(asynchronous=True), True),
    "asynchronous upstream, as a job": (Running(runs=Runs.AUTOMATIC, asynchronous=True), False),
    "called back": (Running(asynchronous=True, called_back=True), True),
    "called back, as a job": (Running(runs=Runs.BACKGROUND, asynchronous=True, called_back=True), False),
}


@pytest.mark.parametrize(("running", "found"), LONG.values(), ids=LONG.keys())
def test_a_tool_that_keeps_its_host_waiting_is_told_to_run_as_a_job(running: Running, found: bool) -> None:
    findings = [finding for finding in lint(MANIFEST, [], running) if finding.rule == "long"]
    assert bool(findings) is found
    assert all("as a job" in f"{finding.message} {finding.remedy}" for finding in findings)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_reserved_name_is_a_problem(name: str) -> None:
    found = lint({**MANIFEST, "name": name}, [])
    assert [finding.level for finding in found if finding.rule == "reserved"] == [Level.PROBLEM]


def test_the_preview_lints_what_is_chosen_and_not_yet_saved(cast: Cast, olga: Client) -> None:
    tool = cast.draft(cast.acme, "echo")
    url = reverse("admin:tools_tool_preview") + f"?tool={tool.pk}"
    long = olga.post(url, form_of(olga, _change(tool), timeout=60)).content.decode()
    assert "let it run as a job" in long
    job = olga.post(url, form_of(olga, _change(tool), timeout=60, runs="background")).content.decode()
    assert "let it run as a job" not in job


def test_the_editor_shows_what_belongs_to_jobs_where_it_matters(cast: Cast, sign_in: SignIn, hub: list[str]) -> None:
    tool = cast.draft(cast.acme, "echo")
    with opened(without="that the editor shows what belongs to jobs") as page:
        cookies = sign_in(cast.olga).cookies.items()
        page.context.add_cookies([{"name": name, "value": one.value, "url": hub[0]} for name, one in cookies])
        page.goto(f"{hub[0]}{_change(tool)}")
        fields = {name: page.locator(f"[name={name}]") for name in ("runs", "wait", "keep_hours")}
        for chosen, shown in (("inline", (False, False)), ("automatic", (True, True)), ("background", (False, True))):
            fields["runs"].select_option(chosen)
            assert (fields["wait"].is_visible(), fields["keep_hours"].is_visible()) == shown, chosen


def test_an_admins_page_of_a_job_is_live(cast: Cast, sign_in: SignIn, hub: list[str]) -> None:
    job = made(cast, cast.uma, slow_tool(cast), progress=1, total=4)
    with opened(without="that a job's page in the admin is live") as page:
        cookies = sign_in(cast.adam).cookies.items()
        page.context.add_cookies([{"name": name, "value": one.value, "url": hub[0]} for name, one in cookies])
        page.goto(f"{hub[0]}{JOBS}{job.pk}/change/")
        page.get_by_text("25%").wait_for()
        with cast.see(cast.acme):
            Job.objects.filter(pk=job.pk).update(progress=2, changed_at=timezone.now())
        page.get_by_text("50%").wait_for()
        page.get_by_role("button", name="Stop echo").click()
        page.get_by_text("Stopping").wait_for()
        assert page.url.endswith(f"{JOBS}{job.pk}/change/")
