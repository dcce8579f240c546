"""A consent is for tools as they were: what gains power is asked about anew, in the call and on the pages."""

import asyncio
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.db import connections
from django.test import Client as Browser

from access.admit import admit
from access.models import Consent
from access.pins import pins_of
from access.standing import standing
from jobs.sealed import unseal_arguments
from lib import db
from tenants.caller import Caller
from tests import tokens
from tests.access.asking import Asking, asking
from tests.cast import Cast
from tests.gateway.confirming import FORMS, LINK, LINKS, YES, Noting, govern
from tests.gateway.following import UNDECLARED, listening
from tests.host import Host
from tests.person import forms, words
from tests.postgres import as_owner, rows
from tools import actions
from tools.models import Connection, Tool

APPS = "/account/apps/"
WRITE = "notes.write"
STRONGER: dict[str, tuple[dict[str, Any], str]] = {
    "writes": ({"read_only": False}, "could only read and can now change things"),
    "destroys": ({"read_only": False, "destructive": True}, "could only read and can now delete or overwrite"),
    "reaches beyond": ({"open_world": True}, "now reaches beyond the company"),
    "goes elsewhere": ({"connection": "https://other.example/v1"}, "now sends to other.example"),
}
"""What a version may gain over one that only reads, and how that is told."""
OPEN = {"name": "open", "effect": "allow"}
"""So that the consent alone is why somebody is asked."""


@dataclass
class Scene:
    """`note` of acme, which only reads at first; a program that uma let use it, and a key of hers."""

    cast: Cast
    ask: Asking
    hub: list[str]
    path: Path

    def app(self, worker: int = 0) -> Noting:
        with self.cast.see(self.cast.acme):
            secret = tokens.token(self.ask.consent(), WRITE)
        return self._noting(secret, worker)

    def key(self) -> Noting:
        return self._noting(self.cast.key(self.cast.uma, scopes=[WRITE])[1], 0)

    def _noting(self, secret: str, worker: int) -> Noting:
        return Noting(Host(self.hub[worker], self.cast.acme.slug, secret), self.path, FORMS)

    def republish(self, name: str = "note", **fields: Any) -> None:
        with self.cast.see(self.cast.acme):
            tool = Tool.objects.get(tenant=self.cast.acme, name=name)
            if url := fields.pop("connection", ""):
                fields["connection"] = Connection.objects.create(tenant=self.cast.acme, name=url, base_url=url)
            for field, value in fields.items():
                setattr(tool, field, value)
            tool.save()
            actions.publish(tool, actor=self.cast.staff)

    def apps(self) -> str:
        return str(self.ask.browser.get(APPS).content.decode())

    def agree(self, page: str, browser: Browser | None = None) -> Any:
        (form,) = [form for form in forms(page) if "seen" in form.texts]
        return (browser or self.ask.browser).post(f"{APPS}{self.ask.consent().pk}/agree", form.data(), follow=True)


@pytest.fixture
def scene(cast: Cast, hub: list[str], tmp_path: Path) -> Scene:
    cast.scopes(cast.acme, {WRITE: "Write notes"})
    cast.tool(cast.acme, "note", scopes=[WRITE], open_world=False)
    govern(cast, OPEN)
    ask = asking(cast)
    ask.allow(WRITE)
    return Scene(cast, ask, hub, tmp_path / "notes")


def asked(uma: Noting, name: str = "note") -> str:
    """Why the person is asked, on our page, as the host that gained it has no say in it; empty where the call ran."""
    answer = uma.call(name=name)
    if not answer.result["isError"]:
        return ""
    found = LINK.search(answer.text)
    assert found, answer.text
    with as_owner() as conn:
        ((sheet,),) = rows(conn, "SELECT arguments FROM jobs_confirmation WHERE id = %s", found[1])
    return str(unseal_arguments(sheet)["said"])


@pytest.mark.parametrize("gained", STRONGER)
def test_a_tool_that_gained_power_asks_whoever_let_a_program_use_it_and_no_key(scene: Scene, gained: str) -> None:
    change, said = STRONGER[gained]
    assert [asked(scene.app()), asked(scene.app(1)), asked(scene.key())] == ["", "", ""]
    scene.republish(**change)
    govern(scene.cast, OPEN)  # which lets nothing destroy that was not live when it was published
    for worker in (0, 1):
        why = asked(scene.app(worker))
        assert why.startswith(f"note can do more than was agreed to: it {said}.")
        assert APPS in why
    assert asked(scene.key()) == ""


def test_a_rule_for_all_tools_lets_none_destroy_that_has_come_to_it_since(scene: Scene) -> None:
    assert asked(scene.key()) == ""
    scene.republish(**STRONGER["destroys"][0])
    assert scene.key().call().result["resultType"] == "input_required"
    govern(scene.cast, OPEN)
    assert asked(scene.key()) == ""


def test_a_yes_to_one_call_is_a_yes_to_that_one_call(scene: Scene) -> None:
    scene.republish(read_only=False)
    uma = scene.app()
    scene.ask.browser.post(uma.link(), {"answer": "yes"})
    assert not uma.call().result["isError"]
    assert uma.lines == ["hello"]
    assert asked(uma) != ""


def test_the_host_that_was_let_in_does_not_answer_for_its_person_that_a_tool_may_do_more(scene: Scene) -> None:
    """Also where a rule has every call confirmed, and with what it was asked before the tool gained power."""
    ask = {"name": "ask", "effect": "confirm", "message": "Notes are read by customers.", "what": {"tools": ["note"]}}
    govern(scene.cast, ask)
    uma = scene.app()
    state = uma.state()
    scene.republish(read_only=False)
    assert asked(uma).startswith("note can do more than was agreed to: it could only read and can now change things.")
    assert asked(uma).endswith("Notes are read by customers.")
    for more in ({}, {"requestState": state}):
        assert uma.call(inputResponses=YES, **more).result["isError"]
    links = Noting(uma.host, uma.path, LINKS)
    assert links.call().result["inputRequests"]["confirm"]["params"]["mode"] == "url"
    assert uma.lines == []


def test_what_is_agreed_to_on_connected_apps_runs_again_on_every_worker(scene: Scene) -> None:
    scene.republish(**STRONGER["destroys"][0])
    govern(scene.cast, OPEN)
    assert asked(scene.app(1)) != ""
    page = scene.apps()
    said = words(page)
    assert "1 tool changed since you agreed note could only read and can now delete or overwrite" in said
    assert "- no + yes" in said.split("It may delete or overwrite")[1]
    assert "may use its tools as they are now" in words(scene.agree(page).content.decode())
    assert [asked(scene.app()), asked(scene.app(1))] == ["", ""]
    assert "changed since you agreed" not in words(scene.apps())
    entry = scene.ask.changes()[-1]
    assert (entry.actor, entry.reason) == (scene.cast.uma.username, "agreed anew to")
    assert "can now delete or overwrite" in str(entry.detail)


def test_other_words_ask_nobody_and_are_shown(scene: Scene) -> None:
    scene.republish(description="Does another thing for tests. Use it in tests; changes nothing.")
    assert asked(scene.app()) == ""
    said = words(scene.apps())
    assert "1 tool changed since you agreed note other words, and no more power" in said
    assert "- Does one thing for tests." in said


def test_a_secret_tool_is_not_named_whatever_it_gained(scene: Scene) -> None:
    scene.republish(**STRONGER["destroys"][0])
    page = scene.apps()
    hush = {"name": "hush", "effect": "deny", "secret": True, "what": {"tools": ["note"]}, "who": {"roles": ["user"]}}
    govern(scene.cast, OPEN, {**hush, "priority": 200})
    assert "note" not in words(scene.apps()).split("It may")[0]
    assert "Nothing was agreed to" in words(scene.agree(page).content.decode())
    govern(scene.cast, OPEN)
    assert asked(scene.app()) != ""


def test_what_a_consent_is_for_is_read_in_its_own_tenant_only(scene: Scene) -> None:
    consent = scene.ask.consent()

    async def ask(tenant_id: int) -> list[str]:
        async with db.open_pool(size=1):
            return list(await pins_of(tenant_id, consent.pk, consent.pins_version))

    assert asyncio.run(ask(scene.cast.acme.pk)) == ["note"]
    assert asyncio.run(ask(scene.cast.beta.pk)) == []


def test_a_version_that_is_taken_back_asks_nobody_any_more(scene: Scene) -> None:
    scene.republish(read_only=False)
    assert asked(scene.app()) != ""
    with scene.cast.see(scene.cast.acme):
        tool = Tool.objects.get(tenant=scene.cast.acme, name="note")
        actions.roll_back(tool, tool.versions.get(number=1), actor=scene.cast.staff)
    assert asked(scene.app()) == ""
    assert "changed since you agreed" not in words(scene.apps())


def test_a_new_tool_is_covered_unless_it_can_destroy(scene: Scene) -> None:
    cast = scene.cast
    given = {"config": {"function": "note"}, "scopes": [WRITE], "read_only": False}
    cast.tool(cast.acme, "jot", **given)
    cast.tool(cast.acme, "wipe", **given, destructive=True)
    assert not scene.app().call(name="jot").result["isError"]
    assert "wipe can do more than was agreed to: it is new and can delete or overwrite." in asked(scene.app(), "wipe")
    said = words(scene.apps())
    assert "1 tool changed since you agreed wipe new, can delete or overwrite" in said


def test_a_page_that_was_read_before_the_next_change_agrees_to_nothing(scene: Scene) -> None:
    scene.republish(read_only=False)
    page = scene.apps()
    scene.republish(destructive=True)
    assert "Nothing was agreed to" in words(scene.agree(page).content.decode())
    assert asked(scene.app()) != ""


def test_nobody_agrees_for_somebody_else(scene: Scene) -> None:
    scene.republish(read_only=False)
    bob = Browser()
    bob.force_login(scene.cast.adam)
    assert scene.agree(scene.apps(), bob).status_code == 404
    assert asked(scene.app()) != ""


def test_the_consent_page_comes_back_with_what_was_gained_and_renews_the_consent(scene: Scene) -> None:
    ask = scene.ask
    assert ask.get(scope=WRITE).status_code == 302, "nothing new, nothing asked"
    scene.republish(**STRONGER["goes elsewhere"][0])
    assert "interaction_required" in ask.get(scope=WRITE, prompt="none")["Location"]
    said = words(ask.get(scope=WRITE).content.decode())
    assert "It will newly be able to Write notes note now sends to other.example" in said
    assert "What is different Where its calls go + https://other.example" in said
    ask.allow(WRITE, scope=WRITE)
    assert asked(scene.app()) == ""
    assert ask.get(scope=WRITE).status_code == 302


def test_a_change_while_the_page_is_read_shows_it_again(scene: Scene) -> None:
    form = scene.ask.form(prompt="consent")
    scene.republish(description="Does another thing for tests. Use it in tests; changes nothing.")
    answer = scene.ask.post(form)
    assert (answer.status_code, "changed while you were reading" in words(answer.content.decode())) == (409, True)


def test_publishing_is_told_to_who_listens(scene: Scene) -> None:
    with listening(scene.app(1).host, {"toolsListChanged": True}, UNDECLARED) as told:
        told.next()
        scene.republish(read_only=False)
        assert told.told()[0] == "notifications/tools/list_changed"


def test_a_worker_and_the_door_know_what_was_agreed_to(scene: Scene) -> None:
    consent, cast = scene.ask.consent(), scene.cast
    with cast.see(cast.acme):
        secret = tokens.token(consent, WRITE)

    async def ask() -> tuple[Caller | None, Caller | None, Caller | None]:
        async with db.open_pool(size=2):
            door = await admit(cast.acme.slug, secret)
            keyed = await admit(cast.acme.slug, cast_key)
            working = await standing(cast.acme.pk, consent.member_id, f"app:{consent.pk}")
            assert door is not None
            assert keyed is not None
            return door.caller, working, keyed.caller

    _, cast_key = cast.key(cast.uma)
    at_door, at_work, by_key = asyncio.run(ask())
    assert at_door is not None
    assert at_work is not None
    assert by_key is not None
    assert at_door.pins == at_work.pins
    assert list(at_door.pins or ()) == ["note"]
    assert "pins" not in repr(at_door)
    assert by_key.pins is None


def test_consents_of_old_cover_the_tools_as_they_were_when_the_hub_learned_of_pins(scene: Scene) -> None:
    given = scene.ask.consent()
    with scene.cast.see(scene.cast.acme):
        Consent.objects.filter(pk=given.pk).update(pins={})
    owner = connections["owner"]
    import_module("tools.migrations.0005_proposals").pin_consents(apps, SimpleNamespace(connection=owner))
    owner.close()
    assert scene.ask.consent().pins == given.pins != {}
    assert asked(scene.app()) == ""
