"""The consent page: what it says, what an answer does, and when it is not shown."""

import datetime
import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection, connections
from django.db.models import F
from django.utils import timezone

from access.actions.consents import give_consent
from access.consent import offer
from access.models import AccessToken, Consent, Grant, OutsideIssuer, digest_of
from access.oauth import families
from tenants.models import Member, Tenant
from tests.access.asking import Asking, asking, furnish, tool
from tests.cast import Cast
from tests.gateway.confirming import govern
from tests.person import Person, answer_of, form_with, words
from tests.tokens import described, registered
from tests.waiting import until
from tools.actions import publish
from tools.models import Tool


@pytest.fixture
def acme(cast: Cast) -> Cast:
    furnish(cast)
    return cast


def _says(response: object) -> str:
    return words(response.content.decode())  # type: ignore[attr-defined]


def _grant(told: dict[str, str], ask: Asking) -> Grant:
    with ask.cast.see(ask.tenant):
        return Grant.objects.select_related("consent").get(code=digest_of(told["code"]))


def test_the_page_names_who_asks_whom_for_what_and_where_the_answer_goes(acme: Cast) -> None:
    ask = asking(acme, described(name="Acme Desk", domain="desk.example"))
    page = ask.get()
    said = _says(page)
    assert f"Acme Desk wants to use Acme ({acme.acme.slug})" in said
    assert "desk.example It is published at this domain. First seen today. Your answer is sent to desk.example" in said
    assert f"You are {acme.uma.username} ." in said
    assert "Read tickets get_ticket" in said
    assert "Write internal notes changes things add_note" in said
    assert "Close tickets can delete or overwrite close_ticket" in said
    assert ask.form().offers("scopes") == {"tickets.read": True, "notes.write": True, "tickets.close": False}
    assert ask.form().offers("span") == {"hour": False, "day": False, "month": True, "forever": False}


@pytest.mark.parametrize(
    ("rules", "asks"),
    [
        ([], {"close_ticket": "asks you each time"}),
        ([{"effect": "allow"}], {}),
        ([{"effect": "confirm", "what": {"tools": ["add_note"]}}], {"add_note": "asks you each time"}),
        ([{"effect": "confirm", "if": "args.text == 'x'"}], {"add_note": "may ask you"}),
        ([{"effect": "review"}], {"add_note": "needs a second person's approval"}),
        ([{"effect": "review", "who": {"users": ["somebody.else"]}}], {"add_note": ""}),
        (
            [{"effect": "review", "priority": 9, "if": "args.text == 'x'"}, {"effect": "confirm"}],
            {"add_note": "needs your yes or a second person's"},
        ),
        (
            [{"effect": "review", "priority": 9, "if": "args.text == 'x'"}],
            {"add_note": "may need a second person's approval"},
        ),
        ([{"effect": "deny", "priority": 9, "where": ["10.0.0.0/8"]}, {"effect": "confirm"}], {"add_note": "asks you"}),
        ([{"effect": "deny"}, {"effect": "confirm", "priority": 9}], {"add_note": "asks you each time"}),
        ([{"effect": "confirm"}, {"effect": "deny", "priority": 9}], {"add_note": ""}),
    ],
)
def test_a_tool_whose_calls_wait_for_somebody_says_so(
    acme: Cast, rules: list[dict[str, Any]], asks: dict[str, str]
) -> None:
    govern(acme, *({"name": f"rule {number}", "priority": 5, **rule} for number, rule in enumerate(rules)))
    said = _says(asking(acme).get())
    marks = ("asks you", "may ask", "approval", "second person's")
    for name, mark in asks.items():
        after = said.split(f"{name} ", 1)[1]
        assert after.startswith(mark), after[:60]
        assert mark or not after.startswith(marks), after[:60]
    if not asks:
        assert "asks you" not in said


def test_a_rule_that_asks_less_while_the_page_is_read_shows_it_again(acme: Cast) -> None:
    ask = asking(acme)
    form = ask.form()
    govern(acme, {"name": "open", "effect": "allow"})
    answer = ask.post(form)
    assert (answer.status_code, "changed while you were reading" in _says(answer)) == (409, True)


def test_a_tool_that_a_rule_makes_a_secret_of_is_not_on_the_page(acme: Cast) -> None:
    hush = {"name": "hush", "effect": "deny", "secret": True, "what": {"tools": ["close_ticket"]}}
    govern(acme, {**hush, "who": {"users": [acme.uma.username]}})
    assert "close_ticket" not in _says(asking(acme).get())
    assert "close_ticket" in _says(asking(acme, user=acme.adam).get())


def test_a_yes_makes_a_code_for_what_was_ticked_and_a_consent_with_what_was_shown(acme: Cast) -> None:
    ask = asking(acme)
    told = ask.allow("tickets.read", span="day")
    grant, consent = _grant(told, ask), ask.consent()
    assert (told["state"], grant.scope, grant.consent_id) == ("xyz", "tickets.read", consent.pk)
    assert consent.scopes == ["tickets.read"]
    assert grant.until == consent.until == consent.given_at + datetime.timedelta(days=1)
    assert consent.shown_hash == hashlib.sha256(orjson.dumps(consent.shown, option=orjson.OPT_SORT_KEYS)).hexdigest()
    assert consent.shown["scopes"]["tickets.close"]["tools"] == {"close_ticket": "destructive"}
    entry = ask.changes()[-1]
    assert (entry.actor, entry.reason) == (acme.uma.username, "granted")


def test_a_no_is_told_to_the_client_and_to_the_ledger(acme: Cast) -> None:
    ask = asking(acme)
    told = ask.told(ask.post(ask.form(), "deny"))
    assert (told["error"], told["state"]) == ("access_denied", "xyz")
    assert "iss" in told
    assert ask.refusals() == ["consent_denied"]


@pytest.mark.parametrize(("span", "length"), [("hour", 1), ("day", 24), ("month", 720), ("forever", None)])
def test_a_yes_holds_as_long_as_was_chosen(acme: Cast, span: str, length: int | None) -> None:
    ask = asking(acme)
    ask.allow(span=span)
    consent = ask.consent()
    assert consent.until == (consent.given_at + datetime.timedelta(hours=length) if length else None)


def test_nothing_ticked_is_said_beside_the_boxes_and_keeps_what_was_chosen(acme: Cast) -> None:
    ask = asking(acme)
    form = ask.form()
    form.tick("scopes", [])
    form.tick("span", ["hour"])
    answer = ask.post(form)
    assert answer.status_code == 422
    assert "Nothing was allowed yet. Tick at least one" in _says(answer)
    assert not any(form.offers("scopes").values())
    assert '<input type="radio" name="span" value="hour" checked>' in answer.content.decode()


def test_no_time_chosen_is_said_and_keeps_what_was_ticked(acme: Cast) -> None:
    acme.change_scope(acme.acme, "tickets.read", needed=True)
    ask = asking(acme)
    form = ask.form()
    form.tick("span", [])
    form.tick("scopes", ["tickets.close"])
    answer = ask.post(form)
    assert (answer.status_code, "Choose for how long" in _says(answer)) == (422, True)
    again = form_with(answer.content.decode(), "decision")
    assert again is not None
    assert again.offers("scopes") == {"tickets.read": True, "notes.write": False, "tickets.close": True}


def test_a_needed_scope_cannot_be_unticked_and_an_implied_one_comes_along(acme: Cast) -> None:
    acme.change_scope(acme.acme, "tickets.read", needed=True)
    acme.scopes(acme.acme, {"notes.all": "Everything with notes"}, notes_all=["notes.write"])
    ask = asking(acme)
    told = ask.allow("notes.all", scope="notes.all tickets.read")
    assert _grant(told, ask).scope == "notes.all notes.write tickets.read"


def test_a_tenant_without_scopes_can_still_be_connected(cast: Cast) -> None:
    cast.tool(cast.acme, "echo")
    ask = asking(cast)
    assert "Open to every connected app (1) echo" in _says(ask.get())
    assert _grant(ask.allow(), ask).scope == ""


def test_a_second_visit_with_nothing_new_is_answered_without_a_page(acme: Cast) -> None:
    ask = asking(acme)
    ask.allow("tickets.read")
    again = ask.told(ask.get(scope="tickets.read"))
    assert _grant(again, ask).consent_id == ask.consent().pk
    assert _grant(ask.told(ask.get(scope="tickets.read", prompt="none")), ask).scope == "tickets.read"


def test_prompt_consent_always_shows_the_page(acme: Cast) -> None:
    ask = asking(acme)
    ask.allow("tickets.read")
    page = ask.get(scope="tickets.read", prompt="consent")
    assert (page.status_code, "Nothing new" in _says(page)) == (200, True)


def test_only_what_is_new_is_highlighted_and_the_rest_is_folded(acme: Cast) -> None:
    ask = asking(acme)
    ask.allow("tickets.read")
    said = _says(ask.get())
    assert "It will newly be able to" in said
    assert said.index("Write internal notes new") < said.index("What you allowed before (1) Read tickets")
    assert "Read tickets new" not in said


def test_a_scope_that_gained_a_destructive_tool_is_asked_for_again(acme: Cast) -> None:
    ask = asking(acme)
    ask.allow("tickets.read")
    tool(acme, acme.acme, "peek", "tickets.read")
    assert ask.get(scope="tickets.read").status_code == 302
    tool(acme, acme.acme, "wipe", "tickets.read", read_only=False, destructive=True)
    page = ask.get(scope="tickets.read")
    assert page.status_code == 200
    assert "wipe can delete or overwrite new" in _says(page)


def test_a_destructive_tool_that_was_seen_beside_a_refused_scope_is_asked_for(acme: Cast) -> None:
    tool(acme, acme.acme, "wipe", "tickets.read", "tickets.close", read_only=False, destructive=True)
    ask = asking(acme)
    ask.allow("tickets.read")
    with acme.see():
        wipe = Tool.objects.get(tenant=acme.acme, name="wipe")
        wipe.scopes = ["tickets.read"]
        wipe.save()
        publish(wipe, actor=acme.staff)
    assert ask.get(scope="tickets.read").status_code == 200


def test_what_a_scope_comes_to_imply_is_asked_for(acme: Cast) -> None:
    ask = asking(acme)
    ask.allow("notes.write")
    assert ask.get(scope="notes.write").status_code == 302
    acme.change_scope(acme.acme, "notes.write", implies=["tickets.close"])
    page = ask.get(scope="notes.write")
    assert (page.status_code, "Close tickets new" in _says(page)) == (200, True)


def test_a_yes_that_is_narrowed_meanwhile_does_not_answer_for_more(acme: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    ask, elsewhere = asking(acme), asking(acme)
    elsewhere.client = ask.client
    ask.allow("tickets.read", "notes.write")
    lock = families.lock

    def narrowed_first(consent_id: int) -> Consent | None:
        monkeypatch.setattr(families, "lock", lock)
        elsewhere.allow("tickets.read", prompt="consent")
        return lock(consent_id)

    monkeypatch.setattr(families, "lock", narrowed_first)
    page = ask.get(scope="tickets.read notes.write")
    assert (page.status_code, ask.consent().scopes) == (200, ["tickets.read"])
    assert form_with(page.content.decode(), "decision") is not None


@pytest.mark.parametrize("uri", ["http://localhost:1/callback", "cursor://desk/callback", "https://desk.example/cb"])
def test_a_client_that_nobody_vouches_for_is_shown_every_time(acme: Cast, uri: str) -> None:
    ask = asking(acme, registered(uri=uri))
    ask.allow("tickets.read")
    page = ask.get(scope="tickets.read")
    assert (page.status_code, "Nothing new" in _says(page)) == (200, True)


def test_widening_keeps_what_it_had_and_ends_nothing(acme: Cast) -> None:
    ask = asking(acme)
    first = _grant(ask.allow("tickets.read", scope="tickets.read"), ask)
    second = _grant(ask.allow("notes.write", scope="notes.write"), ask)
    assert ask.consent().scopes == ["notes.write", "tickets.read"]
    with acme.see():
        assert Grant.objects.get(pk=first.pk).used_at is None
    assert second.scope == "notes.write"
    assert ask.changes()[-1].reason == "widened"


@pytest.mark.parametrize("less", [{"scopes": ("tickets.read",)}, {"scopes": (), "span": "hour"}])
def test_taking_something_away_ends_every_token_given_before(acme: Cast, less: dict[str, object]) -> None:
    ask = asking(acme)
    before = _grant(ask.allow("tickets.read", "notes.write"), ask)
    with acme.see():
        AccessToken.objects.create(
            tenant=acme.acme,
            member=before.member,
            consent_id=before.consent_id,
            application=ask.client,
            token="",
            token_checksum=digest_of(f"t{before.pk}"),
            expires=timezone.now() + datetime.timedelta(hours=1),
        )
    after = _grant(ask.allow(*less["scopes"], span=less.get("span"), prompt="consent"), ask)  # type: ignore[misc, arg-type]
    with acme.see():
        assert not AccessToken.objects.filter(consent=before.consent).exists()
        assert Grant.objects.get(pk=before.pk).used_at is not None
        assert Grant.objects.get(pk=after.pk).used_at is None


def test_a_consent_that_ran_out_counts_for_nothing(acme: Cast) -> None:
    ask = asking(acme)
    ask.allow("tickets.read", "notes.write")
    with acme.see():
        past = datetime.timedelta(days=31)
        Consent.objects.filter(pk=ask.consent().pk).update(given_at=F("given_at") - past, until=F("until") - past)
    assert ask.get(scope="tickets.read").status_code == 200
    ask.allow("tickets.read", scope="tickets.read")
    assert ask.consent().scopes == ["tickets.read"]


def test_what_changed_while_it_was_read_is_shown_again(acme: Cast) -> None:
    ask = asking(acme)
    form = ask.form()
    tool(acme, acme.acme, "wipe", "tickets.read", read_only=False, destructive=True)
    answer = ask.post(form)
    assert answer.status_code == 409
    assert "What it may do changed while you were reading. Nothing was allowed." in _says(answer)
    with acme.see():
        assert not Consent.objects.filter(client=ask.client).exists()


def test_who_is_not_a_member_is_told_and_can_go_back(acme: Cast) -> None:
    ask = asking(acme, user=acme.bob)
    page = ask.get()
    assert page.status_code == 403
    assert "You are not a member of Acme" in _says(page)
    assert "https://desk.example/callback?error=access_denied&amp;" in page.content.decode()
    assert ask.refusals() == ["not_a_member"]


def test_who_is_a_member_no_more_is_not_asked(acme: Cast) -> None:
    ask = asking(acme)
    form = ask.form()
    with acme.see():
        member = acme.member(acme.acme, acme.uma)
        member.active = False
        member.save()
    assert ask.post(form).status_code == 403


def test_what_the_role_may_not_hold_is_not_offered(acme: Cast) -> None:
    acme.change_scope(acme.acme, "tickets.close", roles=["owner"])
    ask = asking(acme)
    said = _says(ask.get())
    assert set(ask.form().offers("scopes")) == {"tickets.read", "notes.write"}
    assert "Asked for, but not for your role (1) Close tickets" in said
    alone = ask.get(scope="tickets.close")
    assert (alone.status_code, "asks for what your role cannot give" in _says(alone)) == (403, True)
    assert ask.refusals() == ["beyond_role"]


def test_a_tenant_that_asks_first_lets_a_member_put_a_client_to_its_admins(acme: Cast) -> None:
    with acme.see():
        Tenant.objects.filter(pk=acme.acme.pk).update(admits="ask")
    ask = asking(acme)
    page = ask.get()
    assert page.status_code == 403
    assert "An admin of Acme has to admit" in _says(page)
    told = ask.told(ask.browser.post(ask.url(), {"decision": "ask"}))
    assert told["error"] == "access_denied"
    assert "An admin was asked already" in _says(ask.get())
    assert ask.refusals()[0] == "client_not_admitted"
    assert ask.told(ask.get(prompt="none"))["error"] == "access_denied"


def test_a_tenant_with_a_list_has_no_button(acme: Cast) -> None:
    with acme.see():
        Tenant.objects.filter(pk=acme.acme.pk).update(admits="list")
    ask = asking(acme)
    page = ask.get()
    assert (page.status_code, 'value="ask"' in page.content.decode()) == (403, False)
    assert ask.browser.post(ask.url(), {"decision": "allow"}).status_code == 403


def test_a_tenant_that_trusts_another_server_issues_nothing(acme: Cast) -> None:
    with acme.see():
        OutsideIssuer.objects.create(
            tenant=acme.acme, issuer="https://idp.example", jwks_uri="https://idp.example/jwks"
        )
    ask = asking(acme)
    assert ask.told(ask.get())["error"] == "invalid_target"
    assert ask.refusals() == ["invalid_target"]


def test_a_stranger_is_sent_to_sign_in_and_back_to_the_very_same_url(acme: Cast) -> None:
    ask = asking(acme)
    ask.browser.logout()
    state = "a%252Fb+c%26d" * 200
    url = ask.url(state=state)
    for _ in range(2):  # some hosts fetch it once themselves, without cookies
        answer = ask.browser.get(url)
        assert answer.status_code == 302
        ask.browser.cookies.clear()
    assert parse_qs(urlsplit(answer["Location"]).query)["next"] == [url]
    ask.browser.force_login(acme.uma)
    assert ask.allow(state=state)["state"] == state


@pytest.mark.parametrize(("signed_in", "error"), [(False, "login_required"), (True, "interaction_required")])
def test_prompt_none_never_shows_a_page(acme: Cast, signed_in: bool, error: str) -> None:
    ask = asking(acme)
    if not signed_in:
        ask.browser.logout()
    assert ask.told(ask.get(prompt="none"))["error"] == error


def test_pressing_allow_twice_makes_one_consent(acme: Cast) -> None:
    ask = asking(acme)
    form = ask.form()
    assert all("code" in ask.told(ask.post(form)) for _ in range(2))
    assert ask.consent().scopes == ["notes.write", "tickets.read"]


def test_two_yeses_at_once_make_one_consent(acme: Cast) -> None:
    first, second = asking(acme), asking(acme)
    second.client = first.client
    form = second.form()

    def waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM pg_locks"
                " WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
            )
            return bool(cursor.fetchone()[0])

    def press() -> object:
        try:
            return second.told(second.post(form))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as another:
        with acme.see(acme.acme):
            first.allow("tickets.read")
            answer = another.submit(press)
            until(waits)
        assert "code" in answer.result()  # type: ignore[operator]
    assert first.consent().scopes == ["notes.write", "tickets.read"]


def test_a_person_signs_in_on_the_way_and_answers(acme: Cast, hub: list[str]) -> None:
    """The person of tests.person, who stands for everybody in the tests of hosts."""
    ask = asking(acme, registered())
    url = ask.url(resource=f"{hub[0]}/t/{acme.acme.slug}/mcp")
    with Person(hub[0], acme.uma.username, acme.password) as uma:
        denied = answer_of(uma.visit(url, deny=True))
        assert (denied["error"], denied["iss"]) == ("access_denied", hub[0])
        told = answer_of(uma.visit(url, scopes=["tickets.read"], span="hour"))
    assert (told["state"], _grant(told, ask).scope) == ("xyz", "tickets.read")


def test_a_member_who_was_taken_out_meanwhile_gives_nothing(acme: Cast) -> None:
    member = acme.member(acme.acme, acme.uma)
    client = described()
    with acme.see():
        Member.objects.filter(pk=member.pk).update(active=False)
        with pytest.raises(PermissionDenied):
            give_consent(
                member,
                client,
                offer=offer.make(asked=(), scopes={}, role="user", tools=[], given=None, about={}),
                ticked=(),
                origin="https://desk.example",
                length=None,
                actor="uma",
            )
