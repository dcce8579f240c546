"""What strangers try at the consent page; each is refused with the right error, and leaves an entry."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from django.conf import settings
from django.test import Client as Browser

from access.models import Admission, Client, Consent, Grant
from audit.models import Entry
from tests import tokens
from tests.access.asking import Asking, asking, furnish
from tests.cast import Cast
from tests.person import form_with, words
from tests.tokens import described, registered


@pytest.fixture
def acme(cast: Cast) -> Cast:
    furnish(cast)
    return cast


def _nothing_came_of_it(ask: Asking) -> bool:
    with ask.cast.see():
        rows = Consent.objects.filter(client=ask.client), Grant.objects.filter(application=ask.client)
        return not any(found.exists() for found in rows)


def _stays_here(response: Any) -> bool:
    """An error page, which sends nobody anywhere."""
    return response.status_code == 400 and "Location" not in response and "meta http" not in response.content.decode()


@pytest.mark.parametrize(
    "game",
    [
        {"approval_prompt": "auto"},
        {"skip_authorization": "true"},
        {"prompt": "login"},
        {"allow": "Authorize", "decision": "allow", "scopes": "tickets.read", "span": "forever"},
        {"consent": "1", "auto_approve": "1"},
    ],
)
def test_no_parameter_of_a_client_skips_the_page(acme: Cast, game: dict[str, str]) -> None:
    ask = asking(acme)
    page = ask.get(**game)
    assert page.status_code == 200
    assert form_with(page.content.decode(), "decision") is not None
    assert _nothing_came_of_it(ask)


def test_a_yes_for_one_tenant_is_none_for_another(acme: Cast) -> None:
    furnish(acme, acme.beta)
    ask = asking(acme, user=acme.bob, tenant=acme.beta)
    ask.allow("tickets.read")
    with acme.see():
        acme.acme.members.create(user=acme.bob, role="user")
    there = Asking(cast=acme, tenant=acme.acme, client=ask.client, browser=ask.browser)
    assert there.get(scope="tickets.read", approval_prompt="auto").status_code == 200
    assert there.told(there.get(scope="tickets.read", prompt="none"))["error"] == "interaction_required"


@pytest.mark.parametrize(
    "uri",
    [
        "https://desk.example/callback/",
        "https://desk.example/callback/../evil",
        "https://desk.example/callback?next=https://evil.example",
        "https://desk.example/callback#fragment",
        "https://DESK.example/callback",
        "https://desk.example:443/callback",
        "https://desk.example@evil.example/callback",
        "https://user:word@desk.example/callback",
        "https://desk.example.evil.example/callback",
        "//evil.example/callback",
        "/callback",
        "javascript:alert(1)",
        "data:text/html,x",
        "http://desk.example/callback",
        "https://desk.example/callback\n",
        "https://desk.example\\@evil.example/callback",
        "https://evil.example/",
        "",
    ],
)
@pytest.mark.parametrize("error", [{}, {"response_type": "token"}, {"resource": "https://evil.example/mcp"}])
def test_nothing_is_sent_to_an_address_that_is_not_registered(acme: Cast, uri: str, error: dict[str, str]) -> None:
    client = described()
    if uri == "":  # the default would be taken were there one
        client.redirect_uris = "https://desk.example/callback https://desk.example/other"
        client.save()
    for user in (acme.uma, acme.bob):
        ask = asking(acme, client, user=user)
        assert _stays_here(ask.get(redirect_uri=uri, **error))
        assert _stays_here(ask.browser.post(ask.url(redirect_uri=uri, **error), {"decision": "deny"}))


@pytest.mark.parametrize(
    "uri", ["http://localhost:1/other", "http://127.0.0.1:1/callback", "http://localhost.evil:1/callback"]
)
def test_only_the_port_of_a_loopback_address_is_free(acme: Cast, uri: str) -> None:
    ask = asking(acme, registered(uri="http://localhost:1/callback"))
    assert _stays_here(ask.get(redirect_uri=uri))
    assert ask.get(redirect_uri="http://localhost:50123/callback").status_code == 200


@pytest.mark.parametrize(
    "name", ["client_id", "redirect_uri", "state", "scope", "response_type", "code_challenge", "prompt"]
)
def test_a_parameter_sent_twice_is_answered_with_a_page(acme: Cast, name: str) -> None:
    ask = asking(acme)
    value = {"client_id": ask.client.client_id, "redirect_uri": ask.client.redirect_uris}.get(name, "x")
    assert _stays_here(ask.browser.get(f"{ask.url(**{name: None})}&{name}={quote(value)}&{name}={quote(value)}"))


@pytest.mark.parametrize(
    "resource",
    [
        None,
        [],
        "https://evil.example/mcp",
        "{base}/t/{slug}",
        "{base}/t/{slug}/mcp/",
        "{base}/t/{slug}/mcp/x",
        "{base}/t/{slug}/mcp?x=1",
        "{base}/t/{slug}/mcp#x",
        "{base}/t/nobody-knows/mcp",
        "{base}.evil.example/t/{slug}/mcp",
        ["{base}/t/{slug}/mcp", "{base}/t/{slug}/mcp"],
        ["{base}/t/{slug}/mcp", "{base}/t/{other}/mcp"],
    ],
)
def test_a_request_names_exactly_one_endpoint_that_there_is(acme: Cast, resource: Any) -> None:
    ask = asking(acme)
    spelled = {"base": settings.BASE_URL, "slug": acme.acme.slug, "other": acme.beta.slug}
    given = [one.format(**spelled) for one in resource] if isinstance(resource, list) else resource
    told = ask.told(ask.get(resource=given.format(**spelled) if isinstance(given, str) else given))
    assert (told["error"], told["state"]) == ("invalid_target", "xyz")
    assert told["iss"] == settings.BASE_URL


def test_a_request_that_is_too_long_is_answered_with_a_page(acme: Cast) -> None:
    ask = asking(acme)
    assert _stays_here(ask.get(state="x" * 9000))
    assert _stays_here(ask.browser.get(ask.url() + "&a=1" * 200))
    assert ask.get(state="x" * 4000).status_code == 200


def test_the_form_is_not_taken_from_elsewhere(acme: Cast) -> None:
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(acme.uma)
    ask = Asking(cast=acme, tenant=acme.acme, client=described(), browser=browser)
    form = ask.form()
    token = form.texts.pop("csrfmiddlewaretoken")
    assert ask.post(form).status_code == 403
    form.texts["csrfmiddlewaretoken"] = token
    foreign = browser.post(ask.url(), form.data(decision="allow"), headers={"origin": "https://evil.example"})
    assert foreign.status_code == 403
    assert _nothing_came_of_it(ask)
    own = browser.post(ask.url(), form.data(decision="allow"), headers={"origin": settings.BASE_URL})
    assert own.status_code == 302


def test_the_page_cannot_be_framed_kept_or_told_to_others(acme: Cast) -> None:
    ask = asking(acme)
    for response in (ask.get(), ask.get(redirect_uri="https://evil.example/"), asking(acme, user=acme.bob).get()):
        policy = response["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy
        assert "form-action" not in policy  # it would stop the redirect to the client
        assert response["X-Frame-Options"] == "DENY"
        assert "no-store" in response["Cache-Control"]
        assert response["Referrer-Policy"] == "same-origin"
        assert not any(sign in response.content.decode() for sign in ("<script", "style=", "onclick"))
    answer = ask.post(ask.form(), "deny")
    assert (answer["Referrer-Policy"], "no-store" in answer["Cache-Control"]) == ("no-referrer", True)


@pytest.mark.parametrize("make", [described, registered])
def test_what_a_client_calls_itself_is_text(acme: Cast, make: Callable[..., Client]) -> None:
    ask = asking(acme, make(name="<script>alert(1)</script>\u202egnp.exe\u3164\x07"))
    for text in (ask.get(), ask.get(scope="tickets.read"), asking(acme, ask.client, user=acme.bob).get()):
        page = text.content.decode()
        assert "<script" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;gnp.exe" in page
        assert not {"\u202e", "\u3164"} & set(page)


def test_a_name_that_imitates_a_known_host_is_warned_of(acme: Cast) -> None:
    fake = asking(acme, described(name="Сlaude", domain="claude-login.example")).get()  # noqa: RUF001 - Cyrillic
    assert "This is not Claude." in words(fake.content.decode())
    own = asking(acme, described(name="Claude", domain="claude.ai")).get()
    assert "This is not" not in words(own.content.decode())


@pytest.mark.parametrize("name", ["Claude Code", "Cursor"])
def test_a_program_that_only_named_itself_says_so(acme: Cast, name: str) -> None:
    said = words(asking(acme, registered(name=name)).get().content.decode())
    assert "A program on your computer" in said
    assert f"It named itself {name} ; nobody vouches for that name." in said


@pytest.mark.parametrize("uri", ["http://localhost:1/callback", "cursor://desk/callback"])
def test_a_domain_does_not_vouch_for_a_program_on_the_persons_computer(acme: Cast, uri: str) -> None:
    client = described(domain="desk.example")
    Client.objects.filter(pk=client.pk).update(redirect_uris=uri)
    client.refresh_from_db()
    said = words(asking(acme, client).get().content.decode())
    assert "The program itself runs on your computer: allow it only if you just started it." in said
    assert "The program itself runs" not in words(asking(acme).get().content.decode())


WRONG = ({"response_type": "x"}, {"resource": None}, {"code_challenge": None}, {"scope": "nothing.known"})


@pytest.mark.parametrize("wrong", WRONG)
def test_the_hub_sends_nobody_it_does_not_know_to_a_strangers_address(acme: Cast, wrong: dict[str, Any]) -> None:
    ask = asking(acme, registered(uri="https://evil.example/"))
    ask.browser.logout()
    for answer in (ask.get(**wrong), ask.browser.post(ask.url(**wrong))):
        assert answer["Location"].startswith("/accounts/login/")
    assert parse_qs(urlsplit(answer["Location"]).query)["next"] == [ask.url(**wrong)]
    assert "error" in ask.told(ask.get(**wrong, prompt="none"))
    ask.browser.force_login(acme.uma)
    assert "error" in ask.told(ask.get(**wrong))


def test_a_scope_that_was_not_offered_cannot_be_posted(acme: Cast) -> None:
    ask = asking(acme)
    form = ask.form(scope="tickets.read")
    data = form.data(decision="allow") | {"scopes": ["tickets.read", "tickets.close"]}
    answer = ask.browser.post(ask.url(scope="tickets.read"), data)
    assert answer.status_code == 409
    assert _nothing_came_of_it(ask)
    assert ask.refusals() == ["scope_not_offered"]


def test_a_nul_is_refused_like_anything_else(acme: Cast) -> None:
    ask = asking(acme)
    assert _stays_here(ask.get(client_id="a\x00b"))
    assert _stays_here(ask.get(redirect_uri="https://desk.example/callback\x00"))
    assert ask.told(ask.get(resource=f"{settings.BASE_URL}/t/\x00/mcp"))["error"] == "invalid_target"
    data = ask.form().data(decision="allow") | {"scopes": ["\x00"]}
    assert ask.browser.post(ask.url(), data).status_code == 409
    assert ask.browser.post(ask.url(), data | {"scopes": [], "span": "\x00"}).status_code == 422


@pytest.mark.parametrize("span", ["year", "", "-1", "forever "])
def test_a_span_that_was_not_offered_cannot_be_posted(acme: Cast, span: str) -> None:
    ask = asking(acme)
    assert ask.browser.post(ask.url(), ask.form().data(decision="allow") | {"span": span}).status_code == 422
    assert _nothing_came_of_it(ask)


@pytest.mark.parametrize("shown", ["", "0" * 64, None])
def test_a_yes_to_another_question_counts_for_nothing(acme: Cast, shown: str | None) -> None:
    ask = asking(acme)
    data = ask.form().data(decision="allow")
    del data["shown"]
    answer = ask.browser.post(ask.url(), data | ({} if shown is None else {"shown": shown}))
    assert (answer.status_code, _nothing_came_of_it(ask)) == (409, True)


def test_what_one_person_read_is_no_yes_of_another(acme: Cast) -> None:
    ask = asking(acme)
    form = ask.form()
    ask.browser.force_login(acme.olga)
    assert ask.post(form).status_code == 409
    ask.browser.logout()
    gone = ask.post(form)
    assert gone["Location"].startswith("/accounts/login/")
    assert _nothing_came_of_it(ask)


def test_a_yes_for_one_client_is_none_for_another(acme: Cast) -> None:
    ask = asking(acme)
    form = ask.form()
    other = Asking(cast=acme, tenant=acme.acme, client=described(), browser=ask.browser)
    assert other.post(form).status_code == 409
    assert _nothing_came_of_it(other)


def test_a_client_of_another_tenant_is_unknown(acme: Cast) -> None:
    with acme.see():
        client = tokens.client(tenant=acme.beta, name="Beta only", redirect_uris="https://desk.example/callback")
    ask = asking(acme, client)
    assert _stays_here(ask.get())
    assert ask.refusals() == ["unknown_client"]
    assert asking(acme, client, user=acme.bob, tenant=acme.beta).get().status_code == 200


def test_a_refusal_says_who_from_where_and_which_client(acme: Cast) -> None:
    ask = asking(acme)
    ask.get(redirect_uri="https://evil.example/")
    with acme.see():
        entry = Entry.objects.get(tenant_id=acme.acme.pk, event="access.refused")
    assert (entry.reason, entry.actor, entry.client) == ("redirect_mismatch", acme.uma.username, ask.client.client_id)
    assert (entry.address, entry.outcome) == ("127.0.0.1", "refused")


@pytest.mark.parametrize(
    "client_id", ["https://127.0.0.1/app.json", "https://desk.example/", "https://a@desk.example/x"]
)
def test_a_description_that_must_not_be_fetched_is_answered_with_a_page(acme: Cast, client_id: str) -> None:
    page = asking(acme).get(client_id=client_id)
    assert _stays_here(page)
    assert "The hub cannot use the description of the program that sent you." in words(page.content.decode())


def test_a_blocked_client_is_not_asked_about(acme: Cast) -> None:
    ask = asking(acme)
    form = ask.form()
    with acme.see():
        Admission.objects.create(tenant=acme.acme, client=ask.client, state="blocked")
    for page in (ask.get(), ask.post(form), ask.browser.post(ask.url(), {"decision": "ask"})):
        assert (page.status_code, "does not let" in words(page.content.decode())) == (403, True)
    assert (set(ask.refusals()), _nothing_came_of_it(ask)) == ({"client_blocked"}, True)


@pytest.mark.parametrize("method", ["put", "delete", "patch", "head", "options"])
def test_only_get_and_post_are_answered(acme: Cast, method: str) -> None:
    ask = asking(acme)
    assert getattr(ask.browser, method)(ask.url()).status_code == 405
