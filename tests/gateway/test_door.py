"""Who gets in, and what strangers are told. Origins and hosts, and the pages for strangers, are beside."""

import datetime
import threading
from typing import Any

import httpx2
import psycopg
import pytest
from django.utils import timezone
from psycopg_pool import PoolTimeout

from access.head import Head
from gateway import door
from gateway.errors import Fault
from lib.schema import compile_schema
from tenants.actions import add_member
from tenants.models import Role, Tenant
from tests import tokens
from tests.cast import Cast
from tests.gateway.conftest import Make
from tests.gateway.strangers import HTML, bearer, disable, seen, url
from tests.host import Host
from tests.ledger import refusals
from tests.waiting import until
from tools import catalog

METHODS = pytest.mark.parametrize("method", ["POST", "GET", "HEAD"])
SLUGS = pytest.mark.parametrize(
    "slug", ["nobody-has-this", "UPPER", "with_underscore", "x" * 200, "a%00b", "%ff", "a.b", "-"]
)


@METHODS
def test_without_a_credential_the_challenge_says_where_and_what_to_ask_for(
    hub: list[str], cast: Cast, client: httpx2.Client, method: str
) -> None:
    cast.scopes(cast.acme, {"tickets.read": "Read", "tickets.write": "Write", "unused": "Nothing needs it"})
    cast.tool(cast.acme, "echo", scopes=["tickets.write"])
    cast.tool(cast.acme, "shout", scopes=["tickets.read"])
    cast.draft(cast.acme, "fail", scopes=["unused"])
    answer = client.request(method, url(hub, cast.acme))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == (
        f'Bearer resource_metadata="{hub[0]}/.well-known/oauth-protected-resource/t/{cast.acme.slug}/mcp", '
        'scope="tickets.read tickets.write"'
    )
    assert answer.headers["content-type"] == "application/json"
    if method != "HEAD":
        assert answer.json()["error"]["data"] == {"reason": "no_credential", "retryable": False}


@METHODS
def test_a_wrong_credential_is_called_so(hub: list[str], cast: Cast, client: httpx2.Client, method: str) -> None:
    answer = client.request(method, url(hub, cast.acme), headers=bearer("mcphub_wrong"))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == (
        'Bearer error="invalid_token", error_description="The credential is not valid here.", '
        f'resource_metadata="{hub[0]}/.well-known/oauth-protected-resource/t/{cast.acme.slug}/mcp"'
    )
    if method != "HEAD":
        assert answer.json()["error"]["data"] == {"reason": "unknown_credential", "retryable": False}


@pytest.mark.parametrize("header", ["", "Bearer", "bearer", "Basic dTpw", "Digest x=1"])
def test_what_is_no_bearer_credential_counts_as_none(
    hub: list[str], cast: Cast, client: httpx2.Client, header: str
) -> None:
    answer = client.post(url(hub, cast.acme), headers={"authorization": header})
    assert answer.status_code == 401
    assert "error=" not in answer.headers["www-authenticate"]


@METHODS
def test_a_disabled_tenant_is_as_unknown_as_one_that_never_was(
    hub: list[str], cast: Cast, client: httpx2.Client, method: str
) -> None:
    _, key = cast.key(cast.uma)
    disable(cast, cast.acme)
    unknown = client.request(method, f"{hub[0]}/t/nobody-has-this/mcp", headers=bearer(key))
    assert unknown.status_code == 404
    for headers in ({}, bearer(key), bearer("wrong")):
        assert seen(client.request(method, url(hub, cast.acme), headers=headers)) == seen(unknown)


@SLUGS
def test_every_slug_that_is_no_tenant_gets_the_same_answer(hub: list[str], client: httpx2.Client, slug: str) -> None:
    answer = client.post(f"{hub[0]}/t/{slug}/mcp")
    assert seen(answer) == seen(client.post(f"{hub[0]}/t/nobody-at-all/mcp"))
    assert answer.json() == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -32600, "message": "There is nothing here."},
    }


def test_a_key_is_taken_from_either_header(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "echo")
    asking = host()
    nobody = Host(asking.base, asking.slug)
    assert nobody.call("echo", {"text": "x"}, x_api_key=asking.key or "").text == '{"text":"x"}'
    assert nobody.call("echo", {"text": "x"}, authorization=f"bearer  {asking.key}").text == '{"text":"x"}'
    basic = nobody.call("echo", {"text": "x"}, authorization="Basic dTpw", x_api_key=asking.key or "")
    assert basic.text == '{"text":"x"}', "what is no bearer credential is none"


@pytest.mark.parametrize("name", ["key", "api_key", "token", "authorization"])
def test_a_key_in_the_url_opens_nothing(hub: list[str], cast: Cast, client: httpx2.Client, name: str) -> None:
    _, key = cast.key(cast.uma)
    answer = client.post(url(hub, cast.acme), params={name: key})
    assert answer.status_code == 401
    assert "error=" not in answer.headers["www-authenticate"]


def test_a_key_opens_no_other_tenant(hub: list[str], cast: Cast, host: Make) -> None:
    cast.tool(cast.beta, "echo")
    answer = Host(hub[0], cast.beta.slug, host().key).call("echo", {"text": "x"})
    assert answer.status == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def reasons(cast: Cast, tenant: Tenant, count: int = 1) -> list[str]:
    """What a tenant was told of those turned away; nobody waits for these entries, so they may land a little later."""

    def landed() -> list[str]:
        found = [entry.reason for entry in refusals(cast, tenant)]
        return found if len(found) >= count else []

    return until(landed)


@pytest.mark.parametrize("sort", ["token", "key"])
def test_a_credential_of_another_tenant_is_told_to_both_and_neither_hears_of_the_other(
    hub: list[str], cast: Cast, sort: str
) -> None:
    cast.tool(cast.beta, "echo")
    secret = tokens.granted(cast, cast.uma)[1] if sort == "token" else cast.key(cast.uma)[1]
    with cast.see(cast.beta):
        add_member(cast.beta, cast.uma, role=Role.OWNER, actor="system")
    answer = Host(hub[0], cast.beta.slug, secret).call("echo", {"text": "x"})
    assert answer.status == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert reasons(cast, cast.beta) == ["foreign_token"]
    assert reasons(cast, cast.acme) == ["used_elsewhere"]
    for tenant, other in ((cast.acme, cast.beta), (cast.beta, cast.acme)):
        (entry,) = refusals(cast, tenant)
        assert (entry.outcome, entry.via, entry.address, entry.detail) == ("refused", "mcp", "127.0.0.1", None)
        said = " ".join(str(value) for value in vars(entry).values())
        assert not any(word in said for word in (other.slug, cast.uma.username, secret))


def test_an_unknown_or_expired_credential_leaves_an_entry(hub: list[str], cast: Cast, client: httpx2.Client) -> None:
    past = timezone.now() - datetime.timedelta(seconds=1)
    _, key = cast.key(cast.uma, expires_at=past)
    consent = tokens.consent(cast, cast.uma)
    with cast.see(cast.acme):
        token = tokens.token(consent, expires=past)
    for secret in (key, token, "mcphub_at_unknown", "unknown", "a.b.c"):
        assert client.post(url(hub, cast.acme), headers=bearer(secret)).status_code == 401
    assert reasons(cast, cast.acme, 5) == ["unknown_credential"] * 5


def test_who_presents_nothing_leaves_no_entry(hub: list[str], cast: Cast, client: httpx2.Client) -> None:
    assert client.post(url(hub, cast.acme)).status_code == 401
    assert client.post(url(hub, cast.acme), headers=bearer("unknown")).status_code == 401
    assert reasons(cast, cast.acme) == ["unknown_credential"]


def test_a_flood_of_wrong_credentials_does_not_fill_the_ledger(
    hub: list[str], cast: Cast, client: httpx2.Client
) -> None:
    for number in range(60):
        assert client.post(url(hub, cast.acme), headers=bearer(f"wrong-{number}")).status_code == 401
    assert client.post(url(hub, cast.acme), params={"access_token": "x"}).status_code == 400
    until(lambda: "token_in_url" in reasons(cast, cast.acme))
    assert reasons(cast, cast.acme).count("unknown_credential") == 20


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("query", ["access_token={}", "x=1&access_token={}", "access%5Ftoken={}", "access_token="])
@pytest.mark.parametrize("also_in_the_header", [False, True])
def test_a_token_in_the_url_is_refused_even_beside_a_good_one(
    hub: list[str], cast: Cast, client: httpx2.Client, method: str, query: str, also_in_the_header: bool
) -> None:
    _, secret = tokens.granted(cast, cast.uma)
    headers = bearer(secret) if also_in_the_header else {}
    answer = client.request(method, f"{url(hub, cast.acme)}?{query.format(secret)}", headers=headers)
    assert answer.status_code == 400
    assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_request", error_description="Send the ')
    assert reasons(cast, cast.acme) == ["token_in_url"]
    assert secret not in answer.text


def test_a_token_in_the_url_is_refused_to_a_browser_too(hub: list[str], cast: Cast, client: httpx2.Client) -> None:
    _, secret = tokens.granted(cast, cast.uma)
    answer = client.get(url(hub, cast.acme), params={"access_token": secret}, headers={"accept": HTML})
    assert (answer.status_code, reasons(cast, cast.acme)) == (400, ["token_in_url"])


@pytest.mark.parametrize(
    "names",
    [("authorization",) * 2, ("x-api-key",) * 2, ("authorization", "x-api-key"), ("x-api-key", "authorization")],
)
def test_several_credentials_are_refused(
    hub: list[str], cast: Cast, client: httpx2.Client, names: tuple[str, str]
) -> None:
    keys = [cast.key(user)[1] for user in (cast.uma, cast.olga)]
    sent = [(name, f"Bearer {key}" if name == "authorization" else key) for name, key in zip(names, keys, strict=True)]
    answer = client.post(url(hub, cast.acme), headers=sent)
    assert answer.status_code == 400
    assert 'error="invalid_request"' in answer.headers["www-authenticate"]
    assert reasons(cast, cast.acme) == ["several_credentials"]


def test_what_is_wrong_with_a_credential_is_not_said_where_there_is_no_tenant(
    hub: list[str], client: httpx2.Client
) -> None:
    unknown = f"{hub[0]}/t/nobody-has-this/mcp"
    assert seen(client.post(f"{unknown}?access_token=x")) == seen(client.post(unknown))


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT", "PATCH"])
def test_only_post_is_served_to_who_has_not_initialized(
    hub: list[str], cast: Cast, client: httpx2.Client, method: str
) -> None:
    _, key = cast.key(cast.uma)
    headers = {**bearer(key), "accept": "text/event-stream"}
    with client.stream(method, url(hub, cast.acme), headers=headers) as answer:
        assert answer.status_code == 405
        assert answer.headers["allow"] == "POST"


def test_the_endpoint_does_not_redirect(hub: list[str], cast: Cast, host: Make) -> None:
    assert host().request("tools/list").status == 200
    with httpx2.Client() as client:
        assert client.post(f"{url(hub, cast.acme)}/").status_code in {403, 404, 405}


@pytest.mark.parametrize(
    "problem",
    [psycopg.OperationalError(), psycopg.InterfaceError(), psycopg.errors.ReadOnlySqlTransaction(), PoolTimeout()],
)
def test_every_way_not_to_reach_the_database_is_told_as_one(problem: Exception) -> None:
    assert door._fault_of(problem, "acme").status == 503


@pytest.fixture
def scoped(cast: Cast) -> tuple[str, int, int]:
    """A tenant whose one tool needs a scope: slug, id, and catalog version."""
    cast.scopes(cast.acme, {"tickets.read": "Read"})
    cast.tool(cast.acme, "echo", scopes=["tickets.read"])
    with cast.see(cast.acme):
        tenant = Tenant.objects.get(pk=cast.acme.pk)
    return tenant.slug, tenant.pk, tenant.catalog_version


async def test_a_stranger_is_answered_without_loading_the_catalog(scoped: tuple[str, int, int], running: None) -> None:
    slug, tenant_id, version = scoped
    head = Head(method="POST", lines=[], headers={"host": "127.0.0.1"}, address="")
    with pytest.raises(Fault) as refused:
        await door._enter(head, slug)
    assert 'scope="tickets.read"' in refused.value.headers["WWW-Authenticate"]
    assert tenant_id not in catalog._catalogs._kept
    assert await catalog.working_scopes(tenant_id, version) == {"tickets.read"}


async def test_a_catalog_is_compiled_beside_the_event_loop(
    scoped: tuple[str, int, int], running: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, tenant_id, version = scoped
    used: list[threading.Thread] = []

    def compile_there(schema: Any) -> Any:
        used.append(threading.current_thread())
        return compile_schema(schema)

    monkeypatch.setattr(catalog, "compile_schema", compile_there)
    assert "echo" in (await catalog.catalog(tenant_id, version)).tools
    assert used
    assert threading.current_thread() not in used
