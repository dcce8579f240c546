"""`manage.py kill`: the same switches from the hub's own machine, and a report until the last has stopped."""

import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.gateway.following import claim, lasting, start
from tests.oversight.scene import Scene, said, under_way
from tests.tokens import registered


def kill(*given: str, **options: Any) -> str:
    out = StringIO()
    call_command("kill", *given, stdout=out, **options)
    return out.getvalue()


@pytest.fixture
def names(scene: Scene) -> dict[str, str]:
    slug = scene.cast.acme.slug
    return {
        "tool": f"{slug}/linger",
        "connection": f"{slug}/Desk",
        "client": scene.client.client_id,
        "client here": f"{slug}/{scene.client.client_id}",
        "user": scene.cast.uma.username,
        "member": f"{slug}/{scene.cast.uma.username}",
        "tenant": slug,
        "everything": "",
    }


@pytest.mark.parametrize(
    "sort", ["tool", "connection", "client", "client here", "user", "member", "tenant", "everything"]
)
def test_it_stops_what_runs_and_reports_that_it_has(
    scene: Scene, names: dict[str, str], tmp_path: Path, sort: str
) -> None:
    word = {"client here": "client", "member": "user"}.get(sort, sort)
    given = [word, *([names[sort]] if names[sort] else [])]
    try:
        with under_way(scene.host(), "linger", tmp_path / "note") as got:
            told = kill(*given, reason="a leak")
        assert said(got[0])[0] == "killed"
        assert re.search(r"is switched off\.\n(stopping: 1 call left\n)?all stopped after \d\.\d s\n$", told)
        assert "a leak" in kill()
    finally:
        assert "is on again" in kill(*given, lift=True)
    assert scene.host().request("tools/list").status == (401 if sort == "client here" else 200)
    with pytest.raises(CommandError, match="No kill switch was thrown"):
        kill(*given, lift=True)


def test_it_does_not_wait_when_it_is_told_so(scene: Scene) -> None:
    scene.linger = lasting(scene.cast, "shout")
    claim(start(scene.host(), "shout", text="hello"))
    told = kill("tool", f"{scene.cast.acme.slug}/shout", no_wait=True)
    assert "stopp" not in told
    assert "stopping: 1 job left" in kill()


def test_it_gives_up_in_the_end(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcphub.management.commands.kill.LONGEST", 0.2)
    scene.linger = lasting(scene.cast, "shout")
    claim(start(scene.host(), "shout", text="hello"))
    with pytest.raises(CommandError, match=r"something still runs \(stopping: 1 job left\)"):
        kill("tool", f"{scene.cast.acme.slug}/shout")


@pytest.mark.parametrize(
    "given",
    [
        ["tool", "linger"],
        ["tool", "no-such-tenant/linger"],
        ["tool", "{}/nothing"],
        ["user", "nobody"],
        ["tenant", ""],
        ["client", "no such"],
        ["user", "{}/bob"],
        ["everything", "acme"],
    ],
    ids=" ".join,
)
def test_what_is_not_there_is_said_with_how_to_name_it(scene: Scene, given: list[str]) -> None:
    with pytest.raises(CommandError, match=r"like|leave it out"):
        kill(*[one.format(scene.cast.acme.slug) for one in given])


def test_a_name_that_two_clients_have_kills_neither(scene: Scene) -> None:
    registered()
    with pytest.raises(CommandError, match="more than one client"):
        kill("client", "Claude Code")
