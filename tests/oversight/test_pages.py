"""The pages of kill switches: who may throw which, what they say of it, and what becomes of it."""

import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from audit.models import Entry
from oversight import stopping
from oversight.models import Switch
from oversight.stopping import progress
from oversight.things import Thing
from tenants.models import User
from tests.cast import Cast
from tests.gateway.following import claim, job_of, lasting, start
from tests.jobs.queues import Queue, queue_fixture
from tests.oversight.scene import SORTS, Scene, everywhere, under_way
from tests.postgres import as_owner, rows
from tests.waiting import until

__all__ = ["queue_fixture"]

LIST = "/admin/oversight/switch/"
PEOPLE = ("olga", "adam", "audrey", "anna", "uma", "bob", "staff")
TENANTS_OWN = {"olga", "adam", "staff"}
MAY = {
    "tool": TENANTS_OWN,
    "connection": TENANTS_OWN,
    "client": {"staff"},
    "client here": TENANTS_OWN,
    "user": {"staff"},
    "member": TENANTS_OWN,
    "tenant": {"olga", "staff"},
    "everything": {"staff"},
}


def browser(user: User) -> Browser:
    found = Browser()
    found.force_login(user)
    return found


def address(thing: Thing) -> str:
    tenant = f"&tenant={thing.tenant.pk}" if thing.tenant is not None else ""
    return f"{reverse('admin:oversight_switch_throw')}?sort={thing.sort.value}&target={thing.target}{tenant}"


def named(scene: Scene, sort: str) -> Thing:
    with everywhere():
        return scene.thing(sort)


def off(scene: Scene, sort: str) -> bool:
    """Whether the switch is thrown."""
    thing = named(scene, sort)
    with everywhere():
        return Switch.objects.filter(sort=thing.sort, target=thing.target, tenant=thing.tenant, lifted_at=None).exists()


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("person", PEOPLE)
def test_who_may_throw_and_lift_which(scene: Scene, person: str, sort: str) -> None:
    reader, url = browser(getattr(scene.cast, person)), address(named(scene, sort))
    may = person in MAY[sort]
    assert (reader.get(url).status_code == 200) == may
    assert (reader.post(url, {"reason": "a leak"}).status_code == 302 and off(scene, sort)) == may
    if not may:
        assert not off(scene, sort)
        switch = scene.throw(sort)
        assert reader.post(f"{LIST}{switch.pk}/lift/").status_code in (302, 403, 404)
        assert off(scene, sort)
    lifted = scene.cast.staff if not may else getattr(scene.cast, person)
    thing = named(scene, sort)
    with everywhere():
        switch = Switch.objects.get(sort=thing.sort, target=thing.target, tenant=thing.tenant, lifted_at=None)
    answer = browser(lifted).post(f"{LIST}{switch.pk}/lift/")
    assert answer.status_code == 302
    assert not off(scene, sort)


def test_an_admin_does_not_switch_an_owner_off(scene: Scene) -> None:
    olga = scene.cast.olga.pk
    url = f"{reverse('admin:oversight_switch_throw')}?sort=user&target={olga}&tenant={scene.cast.acme.pk}"
    assert browser(scene.cast.adam).post(url).status_code == 403


def test_the_last_owner_stays_and_the_page_says_why(scene: Scene) -> None:
    olga = scene.cast.olga.pk
    url = f"{reverse('admin:oversight_switch_throw')}?sort=user&target={olga}&tenant={scene.cast.acme.pk}"
    assert "is the last owner of Acme" in browser(scene.cast.olga).post(url).text
    assert scene.cast.member(scene.cast.acme, scene.cast.olga).active


@pytest.mark.parametrize(
    "query",
    [
        "",
        "sort=nothing&target=1",
        "sort=tool",
        "sort=tool&target=1x",
        "sort=tool&target=99999999999999999999999",
        "sort=tool&target=99999999",
    ],
)
def test_what_is_not_there_cannot_be_switched_off(cast: Cast, query: str) -> None:
    assert browser(cast.staff).get(f"{reverse('admin:oversight_switch_throw')}?{query}").status_code == 404


def test_nobody_learns_of_people_and_clients_of_other_tenants(scene: Scene) -> None:
    olga, url = browser(scene.cast.olga), reverse("admin:oversight_switch_throw")
    beta = scene.cast.beta.pk
    for query in (
        f"sort=user&target={scene.cast.bob.pk}&tenant={scene.cast.acme.pk}",
        f"sort=user&target={scene.cast.bob.pk}&tenant={beta}",
    ):
        answer = olga.get(f"{url}?{query}")
        assert answer.status_code == 404
        assert "bob" not in answer.text
    scene.throw("client")
    page = olga.get(LIST).text
    assert "Nothing is switched off." in page
    with scene.thrown("everything"):
        assert "Everything" in olga.get(LIST).text


def test_each_thing_has_its_switch_on_its_own_page(scene: Scene) -> None:
    cast = scene.cast
    member = cast.member(cast.acme, cast.uma)
    pages = {
        "tool": ("tools_tool", scene.linger.pk, cast.adam),
        "connection": ("tools_connection", scene.connection.pk, cast.adam),
        "client here": ("access_client", scene.client.pk, cast.adam),
        "client": ("access_client", scene.client.pk, cast.staff),
        "member": ("tenants_member", member.pk, cast.adam),
        "user": ("tenants_user", cast.uma.pk, cast.staff),
        "tenant": ("tenants_tenant", cast.acme.pk, cast.olga),
    }
    for sort, (name, key, person) in pages.items():
        page = browser(person).get(reverse(f"admin:{name}_change", args=[key])).text.replace("&amp;", "&")
        assert f'<form method="post" action="{address(named(scene, sort))}"' in page, sort
        assert "What cannot be undone:" in page, sort
    admins = browser(cast.adam).get(reverse("admin:tenants_tenant_change", args=[cast.acme.pk])).text
    assert "sort=tenant" not in admins
    assert "Stop Acme now" not in admins
    assert "Stop everything on this hub" in browser(cast.staff).get(LIST).text
    assert "Stop everything" not in browser(cast.olga).get(LIST).text


def test_one_press_on_its_page_throws_it_and_one_on_the_next_lifts_it(scene: Scene) -> None:
    adam = Browser(enforce_csrf_checks=True)
    adam.force_login(scene.cast.adam)
    page = adam.get(reverse("admin:tools_tool_change", args=[scene.linger.pk])).text.replace("&amp;", "&")
    assert adam.post(address(named(scene, "tool"))).status_code == 403, "only by the button"
    assert not off(scene, "tool")
    report = adam.post(address(named(scene, "tool")), _token(page), follow=True).text
    assert "all stopped after" in report
    assert off(scene, "tool")
    (lift,) = re.findall(r'action="([^"]+/lift/)"', report)
    assert "linger in Acme is on again." in adam.post(lift, _token(report), follow=True).text
    assert not off(scene, "tool")
    assert "was switched on before" in adam.post(lift, _token(report), follow=True).text


def _token(page: str) -> dict[str, str]:
    return {"csrfmiddlewaretoken": re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[0]}


def test_looking_at_the_address_of_a_switch_moves_nothing(scene: Scene) -> None:
    staff, url = browser(scene.cast.staff), address(named(scene, "tool"))
    assert "Stop linger in Acme now" in staff.get(url).text
    assert not off(scene, "tool")
    switch = scene.throw("tool")
    for page in ("lift", "reason"):
        assert staff.get(f"{LIST}{switch.pk}/{page}/").status_code == 302
    assert off(scene, "tool")


def test_the_reason_can_be_given_afterwards_and_is_in_the_ledger(scene: Scene) -> None:
    switch, url = scene.throw("tool"), f"{LIST}%s/reason/"
    for person, status in ((scene.cast.bob, 404), (scene.cast.audrey, 404), (scene.cast.adam, 302)):
        answer = browser(person).post(url % switch.pk, {"reason": "It leaks"})
        assert answer.status_code == status, person
    assert "It leaks" in browser(scene.cast.adam).get(f"{LIST}{switch.pk}/change/").text
    browser(scene.cast.adam).post(url % switch.pk, {"reason": "  "})
    scene.throw("tool")
    with everywhere():
        switch.refresh_from_db()
        (told,) = Entry.objects.filter(tenant_id=scene.cast.acme.pk, reason="explained")
    assert switch.reason == "It leaks", "neither nothing nor a second press takes it away"
    assert told.detail is not None
    assert (told.actor, told.detail["note"]) == (scene.cast.adam.username, "It leaks")


def test_nobody_shuts_themselves_out_by_one_press(scene: Scene) -> None:
    cast = scene.cast
    member = cast.member(cast.acme, cast.olga)
    page = browser(cast.olga).get(reverse("admin:tenants_member_change", args=[member.pk])).text.replace("&amp;", "&")
    url = f"{reverse('admin:oversight_switch_throw')}?sort=user&target={cast.olga.pk}&tenant={cast.acme.pk}"
    assert f'<a class="mh-button mh-danger" href="{url}"' in page
    assert f'action="{url}"' not in page
    assert "You cannot switch yourself on again" in browser(cast.olga).get(url).text


def test_the_page_says_what_it_will_do_and_what_cannot_be_undone(scene: Scene) -> None:
    page = browser(scene.cast.staff).get(address(named(scene, "client here"))).text
    assert "Its tokens are refused here from the next request on" in page
    assert "so they will be asked again" in page
    assert "Stop Claude Code in Acme now" in page


def test_the_page_counts_what_still_runs_and_says_when_the_last_had_stopped(scene: Scene, tmp_path: Path) -> None:
    scene.linger = lasting(scene.cast, "shout")
    task = start(scene.host(), "shout", text="hello")
    fence = claim(task)
    switch = scene.throw("tool", by=scene.cast.adam, reason="a leak")
    adam = browser(scene.cast.adam)
    page = adam.get(f"{LIST}{switch.pk}/change/").text
    assert "stopping: 1 job left" in page
    assert f'hx-get="{LIST}{switch.pk}/live/"' in page
    assert "a leak" in page
    listed = adam.get(LIST).text
    assert 'hx-get="/admin/oversight/switch/live/"' in listed
    _end(task, fence)
    live = adam.get(f"{LIST}{switch.pk}/live/").text
    assert re.search(r"all stopped after \d+\.\d s", live)
    assert "hx-get" not in live
    assert "hx-get" not in adam.get(f"{LIST}live/").text
    with everywhere():
        switch.refresh_from_db()
    assert switch.stopped_at is not None
    with as_owner() as conn:
        ((ended,),) = rows(conn, "SELECT ended_at FROM jobs_job WHERE id = %s", job_of(task).id)
    assert switch.stopped_at == ended, "it is when the last had ended, not when somebody looked"


@pytest.mark.parametrize("sort", SORTS)
def test_the_page_counts_calls_and_says_when_the_last_had_stopped(scene: Scene, tmp_path: Path, sort: str) -> None:
    note = tmp_path / "note"
    with under_way(scene.host(), "linger", note), scene.thrown(sort) as switch:
        staff = browser(scene.cast.staff)
        told = until(
            lambda: found if "all stopped" in (found := staff.get(f"{LIST}{switch.pk}/live/").text) else "", within=20
        )
    assert re.search(r"all stopped after \d\.\d s", told)


def test_what_one_tenants_admin_sees_is_not_said_for_all(scene: Scene) -> None:
    with everywhere():
        switch = Switch.objects.create(sort="everything", label="Everything", thrown_at=timezone.now())
    with scene.cast.see(scene.cast.beta):
        progress(switch)
    with everywhere():
        switch.refresh_from_db()
        assert switch.stopped_at is None
    with as_owner() as conn:  # nobody else may
        conn.execute("DELETE FROM oversight_switch WHERE id = %s", [switch.pk])


def test_the_page_admits_that_a_thread_runs_on(scene: Scene, tmp_path: Path) -> None:
    note = tmp_path / "note"
    scene.linger = scene.cast.tool(scene.cast.acme, "linger_in_a_thread")
    with under_way(scene.host(), "linger_in_a_thread", note), scene.thrown("tool") as switch:
        page = until(lambda: _with(scene, switch, "all stopped"))
        assert "1 function ran in a thread, which nothing can stop from outside." in page


def test_a_call_counts_for_as_long_as_its_process_is_not_known_to_be_gone(scene: Scene) -> None:
    process = uuid.uuid4()
    with as_owner() as conn:
        conn.execute("INSERT INTO audit_instance (id, host, pid) VALUES (%s, 'silent', 1)", [process])
        conn.execute(
            "INSERT INTO audit_entry (at, tenant_id, event, call_id, instance_id, tool, version) VALUES"
            " (clock_timestamp(), %s, 'call.started', gen_random_uuid(), %s, 'linger', 1)",
            [scene.cast.acme.pk, process],
        )
        switch = scene.throw("tool")
        assert "stopping: 1 call left" in _with(scene, switch, "stopping")
        conn.execute("DELETE FROM audit_instance WHERE id = %s", [process])
    assert "all stopped" in _with(scene, switch, "all stopped")


def test_a_job_that_could_not_be_told_to_stop_counts_until_it_has_ended(scene: Scene) -> None:
    scene.linger = lasting(scene.cast, "shout")
    task = start(scene.host(), "shout", text="hello")
    fence = claim(task)
    with as_owner(autocommit=False) as somebody:
        somebody.execute("SELECT FROM jobs_job WHERE id = %s FOR UPDATE", [task["taskId"]])
        switch = scene.throw("tool")
        somebody.rollback()
    assert "stopping: 1 job left" in _with(scene, switch, "stopping")
    with as_owner() as conn:
        said = rows(conn, "SELECT jobs_finish(%s, %s, 'succeeded', '', NULL, '', 0, NULL)", task["taskId"], fence)
        assert said == [("done",)]
        ((ended,),) = rows(conn, "SELECT ended_at FROM jobs_job WHERE id = %s", task["taskId"])
    assert "all stopped" in _with(scene, switch, "all stopped")
    with everywhere():
        switch.refresh_from_db()
    assert switch.stopped_at == ended


def test_the_jobs_of_the_past_are_not_gone_through_each_second(queue: Queue) -> None:
    queue.put(queue.cast.acme, 5000)
    queue.conn.execute(
        "UPDATE jobs_job SET state = 'succeeded', started_at = now() - interval '2 days',"
        " ended_at = now() - interval '1 day'"
    )
    queue.conn.execute("ANALYZE jobs_job")
    version, _ = queue.tools[queue.cast.acme.pk]
    asked = {"tenants": [queue.cast.acme.pk], "target": version, "thrown_at": timezone.now()}
    for sort in Switch.Sort.values:
        plan = queue.conn.execute(f"EXPLAIN {stopping._JOBS}", {**asked, "sort": sort}).fetchall()
        assert "Seq Scan on jobs_job" not in str(plan), sort


def test_other_calls_do_not_keep_a_switch_from_being_done(scene: Scene, tmp_path: Path) -> None:
    note = tmp_path / "note"
    scene.cast.tool(scene.cast.acme, "linger_in_a_thread")
    with under_way(scene.host(), "linger_in_a_thread", note):
        switch = scene.throw("tool")
        assert "all stopped" in _with(scene, switch, "all stopped")
        scene.throw("tenant")


def _with(scene: Scene, switch: Switch, words: str) -> str:
    page = browser(scene.cast.staff).get(f"{LIST}{switch.pk}/live/").text
    return page if words in page else ""


def _end(task: Any, fence: int) -> None:
    with as_owner() as conn:
        said = rows(
            conn,
            "SELECT jobs_finish(%s, %s, 'cancelled', 'cancelled', NULL, '', 0, NULL)",
            job_of(task).id,
            fence,
        )
    assert said == [("done",)]
