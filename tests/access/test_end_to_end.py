"""Real hosts, knowing nothing but a tenant's URL, get from 401 to a working token with a person in between.

The person is `tests.person` where only HTTP matters, and a real browser where somebody presses the buttons.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp_types import CallToolResult, TextContent
from playwright.sync_api import Page, Route

from access.actions.clients import create_machine
from access.models import AuthMethod, Client
from tests.access.desk import READ, WRITE, Desk
from tests.access.program import Program
from tests.browser import opened
from tests.clients import hosts, python_host
from tests.clients.hosts import Visit
from tests.clients.python_host import Browser, Memory
from tests.documents import Documents
from tests.person import answer_of

TYPESCRIPT: Final = [
    pytest.param("sdk", "2025-11-25", id="v1"),
    pytest.param("client", "2026-07-28", id="v2"),
]


def said(result: CallToolResult | dict[str, Any]) -> str:
    if isinstance(result, dict):
        assert not result.get("isError"), result
        return "\n".join(block["text"] for block in result["content"])
    assert not result.is_error, result
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


# The Python SDK


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_the_python_sdk_registers_asks_a_person_and_calls(mode: str, desk: Desk) -> None:
    browser, memory = Browser(desk.uma.visit), Memory()
    with python_host.connected(desk.url, python_host.provider(desk.url, browser, memory), mode=mode) as host:
        listed = host.list_tools()
        assert said(host.call("shout", text="hello")) == "HELLO"
    assert listed == ["echo", "shout"]
    assert len(browser.visits) == 1
    assert memory.scopes == {READ, WRITE}
    (consent,) = desk.consents()
    assert consent.client.registration_source == Client.RegistrationSource.DCR


def test_a_call_beyond_the_grant_steps_up_and_keeps_what_it_had(desk: Desk) -> None:
    browser, memory = Browser(desk.only(READ)), Memory()
    with python_host.connected(desk.url, python_host.provider(desk.url, browser, memory)) as host:
        assert "one" in said(host.call("echo", text="one"))
        assert memory.scopes == {READ}
        assert said(host.call("shout", text="two")) == "TWO"
        assert memory.scopes == {READ, WRITE}
        assert "three" in said(host.call("echo", text="three"))
    assert len(browser.visits) == 2
    assert len(desk.consents()) == 1


def test_the_python_sdk_refreshes_by_itself(desk: Desk) -> None:
    browser, memory = Browser(desk.uma.visit), Memory()
    provider = python_host.provider(desk.url, browser, memory)
    with python_host.connected(desk.url, provider) as host:
        host.call("echo", text="one")
        before = memory.tokens
        desk.expire_access_tokens()
        provider.context.token_expiry_time = time.time() - 1  # an hour later, by its own clock
        assert "two" in said(host.call("echo", text="two"))
    assert memory.tokens is not None
    assert before is not None
    assert memory.tokens.access_token != before.access_token
    assert memory.tokens.refresh_token != before.refresh_token
    assert len(browser.visits) == 1


def test_after_a_revocation_in_mid_session_the_next_call_asks_the_person_again(desk: Desk) -> None:
    browser, memory = Browser(desk.uma.visit), Memory()
    with python_host.connected(desk.url, python_host.provider(desk.url, browser, memory)) as host:
        host.call("echo", text="one")
        desk.revoke()
        assert "two" in said(host.call("echo", text="two"))
    assert len(browser.visits) == 2


def test_the_python_sdk_is_known_by_its_metadata_document(desk: Desk, documents: Documents) -> None:
    url = documents.client("/python.json", client_name="Python by document", redirect_uris=[python_host.REDIRECT])
    browser, memory = Browser(desk.uma.visit), Memory()
    provider = python_host.provider(desk.url, browser, memory, metadata_url=url)
    with python_host.connected(desk.url, provider) as host:
        assert "hello" in said(host.call("echo", text="hello"))
    (consent,) = desk.consents()
    assert (consent.client.client_id, consent.client.name) == (url, "Python by document")
    assert consent.client.registration_source == Client.RegistrationSource.CIMD


# Machines, which act by themselves


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_machine_proves_itself_by_its_secret(
    method: Literal["client_secret_basic", "client_secret_post"], desk: Desk
) -> None:
    client, secret = machine(desk, AuthMethod(method))
    assert secret is not None
    auth = ClientCredentialsOAuthProvider(desk.url, Memory(), client.client_id, secret, method, issuer=desk.base)
    _acts_within_its_scopes(desk, auth)


def test_a_machine_proves_itself_by_a_signature(desk: Desk) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(ECAlgorithm.to_jwk(key.public_key())) | {"kid": "one", "alg": "ES256"}
    client, _ = machine(desk, AuthMethod.JWT, jwks={"keys": [public]})
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    signed = SignedJWTParameters(
        issuer=client.client_id, subject=client.client_id, signing_key=pem, signing_algorithm="ES256"
    )
    auth = PrivateKeyJWTOAuthProvider(
        desk.url, Memory(), client.client_id, signed.create_assertion_provider(), issuer=desk.base
    )
    _acts_within_its_scopes(desk, auth)


def machine(desk: Desk, method: AuthMethod, jwks: dict[str, Any] | None = None) -> tuple[Client, str | None]:
    """A machine that acts as uma and may only read."""
    member = desk.cast.member(desk.cast.acme, desk.cast.uma)
    with desk.cast.see(desk.cast.acme):
        return create_machine(
            member, name="Night job", scopes=[READ], auth_method=method, actor=desk.cast.olga.username, jwks=jwks
        )


def _acts_within_its_scopes(desk: Desk, auth: httpx2.Auth) -> None:
    with python_host.connected(desk.url, auth) as host:
        assert "hello" in said(host.call("echo", text="hello"))
    assert desk.consents() == []


# The official TypeScript clients


@pytest.mark.node
@pytest.mark.parametrize(("package", "revision"), TYPESCRIPT)
def test_the_typescript_client_registers_asks_a_person_and_refreshes(package: str, revision: str, desk: Desk) -> None:
    with hosts.typescript(package, revision, desk.url, desk.uma.visit) as host:
        assert host.list_tools() == ["echo", "shout"]
        assert said(host.call("shout", text="hello")) == "HELLO"
        desk.expire_access_tokens()
        assert "again" in said(host.call("echo", text="again"))
        assert len(host.visits) == 1
        desk.revoke()
        assert "and again" in said(host.call("echo", text="and again"))
        assert len(host.visits) == 2


@pytest.mark.node
def test_the_typescript_client_is_known_by_its_metadata_document(desk: Desk, documents: Documents) -> None:
    url = documents.client("/typescript.json", client_name="TypeScript by document", redirect_uris=[hosts.REDIRECT])
    with hosts.typescript("client", "2026-07-28", desk.url, desk.uma.visit, metadata_url=url) as host:
        assert "hello" in said(host.call("echo", text="hello"))
    (consent,) = desk.consents()
    assert consent.client.client_id == url


@pytest.mark.node
def test_the_typescript_client_steps_up_and_keeps_what_it_had(desk: Desk) -> None:
    with hosts.typescript("client", "2026-07-28", desk.url, desk.only(READ)) as host:
        assert "one" in said(host.call("echo", text="one"))
        assert host.scope == READ
        assert said(host.call("shout", text="two")) == "TWO"
        assert host.scope == f"{READ} {WRITE}"
        assert "three" in said(host.call("echo", text="three"))
    assert len(host.visits) == 2


# mcp-remote


@pytest.mark.node
def test_mcp_remote_registers_asks_a_person_and_refreshes(desk: Desk, tmp_path: Path) -> None:
    with hosts.mcp_remote(desk.url, desk.uma.visit, tmp_path) as remote:
        remote.initialize()
        tools = remote.request("tools/list", {})["tools"]
        assert [tool["name"] for tool in tools] == ["echo", "shout"]
        desk.expire_access_tokens()
        assert said(remote.request("tools/call", {"name": "shout", "arguments": {"text": "hello"}})) == "HELLO"
        assert len(remote.visits) == 1
        desk.revoke()
        assert said(remote.request("tools/call", {"name": "shout", "arguments": {"text": "again"}})) == "AGAIN"
        assert len(remote.visits) == 2


# A real browser


@contextmanager
def _browser(desk: Desk, press: Callable[[Page], None]) -> Iterator[Visit]:
    """Somebody at a real browser, who signs in where that is asked and then does what `press` says."""
    untested = "nobody pressed the buttons of the consent page"
    with opened(without=untested, viewport={"width": 1000, "height": 900}) as page:
        answered: list[str] = []

        def at_the_host(route: Route) -> None:
            answered.append(route.request.url)
            route.fulfill(body="You may close this page.")

        page.route(f"{hosts.REDIRECT}*", at_the_host)

        def visit(url: str) -> str:
            page.goto(url)
            if "/accounts/login/" in page.url:
                page.fill("[name=login]", desk.cast.uma.username)
                page.fill("[name=password]", desk.cast.password)
                page.press("[name=password]", "Enter")
                page.wait_for_url("**/authorize?**")
            press(page)
            page.wait_for_url(f"{hosts.REDIRECT}*")
            return answered[-1]

        yield visit


def _leave_only(page: Page, scope: str) -> None:
    for box in page.locator("[name=scopes]").all():
        box.set_checked(box.get_attribute("value") == scope)


@pytest.mark.node
@pytest.mark.browser
def test_somebody_at_a_real_browser_unticks_a_scope_and_grants_it_when_it_is_needed(desk: Desk) -> None:
    seen: list[str] = []

    def press(page: Page) -> None:
        seen.append(page.inner_text("main"))
        if len(seen) == 1:
            _leave_only(page, READ)
        else:
            page.locator("[name=scopes]").last.scroll_into_view_if_needed()
        page.locator("[name=decision][value=allow]").click()

    with (
        _browser(desk, press) as visit,
        hosts.typescript("client", "2025-11-25", desk.url, visit) as host,
    ):
        assert "one" in said(host.call("echo", text="one"))
        assert host.scope == READ
        assert said(host.call("shout", text="two")) == "TWO"
        assert host.scope == f"{READ} {WRITE}"
    assert len(seen) == 2
    for text in seen:
        assert "TypeScript test host" in text
        assert desk.cast.acme.name in text
        assert "127.0.0.1" in text
    assert "shout" in seen[1]


@pytest.mark.browser
def test_somebody_at_a_real_browser_says_no_and_the_host_is_told(desk: Desk) -> None:
    def press(page: Page) -> None:
        page.locator("[name=decision][value=deny]").click()

    with _browser(desk, press) as visit, Program.registered(desk.base, redirect_uri=hosts.REDIRECT) as program:
        asked = program.ask(desk.cast.acme.slug)
        answer = answer_of(visit(asked.url))
    assert (answer["error"], answer["state"], answer["iss"]) == ("access_denied", asked.state, desk.base)
    assert desk.consents() == []
