"""What is switched off is refused from the next request on, wherever it goes, and what runs of it is stopped."""

import threading
from pathlib import Path

import httpx2
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client as Browser
from django.urls import reverse

from audit.models import Entry
from oversight.models import Switch
from tests.cast import Cast
from tests.host import Host
from tests.ledger import calls
from tests.oversight.scene import HELD, SORTS, Scene, everywhere, said, under_way
from tests.postgres import as_app
from tests.waiting import until

BOTH = (0, 1)
REFUSED = {
    "tool": (400, -32602),
    "connection": (400, -32602),
    "client": (401, -32600),
    "client here": (401, -32600),
    "user": (401, -32600),
    "member": (401, -32600),
    "tenant": (404, -32600),
    "everything": (503, -32002),
}


@pytest.fixture
def note(tmp_path: Path) -> Path:
    """Where a lingering function says that it has begun, and how it ended."""
    return tmp_path / "note"


@pytest.mark.parametrize("sort", SORTS)
def test_the_next_request_obeys_in_every_process_and_obeys_when_it_is_lifted(scene: Scene, sort: str) -> None:
    with scene.thrown(sort):
        for worker in BOTH:
            answer = scene.host(worker).call("linger", {"path": "/nowhere/to/write"})
            assert (answer.status, answer.error["code"]) == REFUSED[sort]
    if sort == "client here":
        return  # what the member let it do was taken back
    for worker in BOTH:
        assert set(scene.host(worker).tools()) >= {"echo", "linger"}


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("worker", BOTH)
def test_a_call_that_runs_is_stopped_and_its_host_and_the_ledger_are_told(
    scene: Scene, note: Path, sort: str, worker: int
) -> None:
    with under_way(scene.host(worker), "linger", note) as got, scene.thrown(sort):
        assert until(note.read_text, within=10) == "cancelled"
    reason, sentence = said(got[0])
    assert reason == "killed"
    assert sentence.startswith("An admin stopped linger. It may have taken effect. Do not call it again")
    (ended,) = calls(scene.cast, scene.cast.acme, "linger", "call.finished")
    assert (ended.outcome, ended.reason, ended.detail) == ("cancelled", "killed", None)


@pytest.mark.parametrize("sort", ["tool", "client", "member"])
def test_what_is_not_concerned_goes_on(scene: Scene, note: Path, tmp_path: Path, sort: str) -> None:
    cast = scene.cast
    cast.tool(cast.acme, "wait_for_file")
    olga = Host(scene.hub[0], cast.acme.slug, cast.key(cast.olga)[1])
    released = tmp_path / "released"
    with under_way(scene.host(), "linger", note):
        got: list[str] = []
        thread = threading.Thread(target=lambda: got.append(olga.call("wait_for_file", {"path": str(released)}).text))
        thread.start()
        until(lambda: calls(cast, cast.acme, "wait_for_file", "call.started"))
        with scene.thrown(sort):
            until(note.read_text, within=10)
        released.touch()
        thread.join(10)
    assert got == ["found"]


def test_a_function_in_a_thread_is_given_up_and_the_ledger_says_that_it_was(scene: Scene, note: Path) -> None:
    scene.cast.tool(scene.cast.acme, "linger_in_a_thread", connection=scene.connection)
    with under_way(scene.host(), "linger_in_a_thread", note) as got, scene.thrown("connection"):
        until(lambda: got)
    assert said(got[0])[0] == "killed"
    (ended,) = calls(scene.cast, scene.cast.acme, "linger_in_a_thread", "call.finished")
    assert (ended.outcome, ended.reason, ended.detail) == ("cancelled", "killed", {"thread": True})


def test_a_switch_that_was_not_heard_of_is_obeyed_once_the_process_listens_again(scene: Scene, note: Path) -> None:
    with under_way(scene.host(), "linger", note) as got:
        with as_app() as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'mcphub events' AND datname = current_database()"
            )
        scene.throw("tool")
        assert until(note.read_text, within=10) == "cancelled"
    assert said(got[0])[0] == "killed"


@pytest.mark.parametrize("sort", SORTS)
def test_every_ledger_that_is_concerned_says_who_did_it_and_why(scene: Scene, sort: str) -> None:
    cast = scene.cast
    with scene.thrown(sort, by=cast.staff, reason="leaking <secrets>"):
        pass
    for verb in ("killed", "lifted"):
        assert verb in [entry.reason for entry in _changes(cast, cast.acme.pk)]
    (killed,) = [entry for entry in _changes(cast, cast.acme.pk) if entry.reason == "killed"]
    assert killed.actor == cast.staff.username
    assert killed.detail is not None
    assert "leaking <secrets>" in killed.detail["note"]
    everywhere_else = [entry for entry in _changes(cast, cast.beta.pk) if entry.reason == "killed"]
    assert bool(everywhere_else) == (sort == "everything")


def test_throwing_again_is_fine_and_stops_what_came_meanwhile(scene: Scene, note: Path) -> None:
    first = scene.throw("tool")
    with scene.cast.see(scene.cast.acme):
        type(scene.linger).objects.filter(pk=scene.linger.pk).update(enabled=True)
    with under_way(scene.host(), "linger", note) as got:
        again = scene.throw("tool", reason="once more")
        assert until(note.read_text, within=10) == "cancelled"
    assert said(got[0])[0] == "killed"
    assert again.pk == first.pk
    assert scene.lift(again)
    assert not scene.lift(again)


def test_a_stopped_hub_says_so_to_hosts_and_programs_and_goes_on_being_healthy(scene: Scene) -> None:
    with scene.thrown("everything"):
        answer = scene.host().request("tools/list")
        assert answer.headers["retry-after"] == "60"
        assert answer.error["data"] == {"reason": "everything_stopped", "retryable": False}
        assert "An admin has stopped this hub" in answer.error["message"]
        headers = {"authorization": f"Bearer {scene.token}"}
        jobs = httpx2.get(f"{scene.hub[0]}/api/v1/t/{scene.cast.acme.slug}/jobs/", headers=headers)
        assert (jobs.status_code, jobs.json()["error"]["reason"]) == (503, "everything_stopped")
        assert httpx2.get(f"{scene.hub[0]}/readyz").status_code == 200
        unknown = Host(scene.hub[0], "no-such-tenant", scene.token)
        assert unknown.request("tools/list").status == 404


@pytest.mark.parametrize("sort", HELD)
def test_no_secret_that_is_presented_meanwhile_is_told_of_as_unknown_by_accident(scene: Scene, sort: str) -> None:
    """A stopped hub looks at no secret, so nobody's is in the ledger as a stranger's."""
    with scene.thrown(sort):
        scene.host().request("tools/list")
    with scene.cast.see(scene.cast.acme):
        strangers = Entry.objects.filter(tenant_id=scene.cast.acme.pk, event="access.refused").count()
    assert bool(strangers) == (sort not in ("tenant", "everything"))


def _changes(cast: Cast, tenant_id: int) -> list[Entry]:
    with everywhere():
        return list(Entry.objects.filter(tenant_id=tenant_id, event="changed").order_by("id"))


def test_what_a_switch_is_of_is_kept_with_it(scene: Scene) -> None:
    with scene.thrown("tool", reason="why"), everywhere():
        kept = Switch.objects.get(sort="tool", target=str(scene.linger.pk))
        assert (kept.label, kept.reason, kept.tenant_id) == ("linger in Acme", "why", scene.cast.acme.pk)


def test_while_everything_is_stopped_admins_and_the_command_line_run_nothing_either(scene: Scene) -> None:
    olga = Browser()
    olga.force_login(scene.cast.olga)
    url = reverse("admin:tools_tool_try", args=[scene.linger.pk])
    form = {"member": scene.cast.member(scene.cast.acme, scene.cast.uma).pk, "arguments": '{"path": "/nowhere"}'}
    with scene.thrown("everything"):
        assert "stopped by a kill switch" in olga.post(url, form).text
        with pytest.raises(CommandError, match="stopped by a kill switch"):
            call_command("call", scene.cast.acme.slug, "echo", '{"text": "hello"}')
    assert calls(scene.cast, scene.cast.acme, "linger", "call.started") == []
