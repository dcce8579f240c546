"""Who gets in, what strangers are told, and what a browser sees."""

import datetime
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import psycopg
import pytest
from django.utils import timezone
from psycopg_pool import PoolTimeout

from gateway import door, request
from gateway.errors import Fault
from gateway.request import Head
from lib.schema import compile_schema
from tenants.actions import add_member
from tenants.models import Role, Tenant
from tests import database, tokens
from tests.cast import Cast
from tests.host import Answer, Host
from tests.ledger import refusals
from tests.servers import serve
from tests.waiting import until
from tools import catalog

Make = Callable[..., Host]

METHODS = pytest.mark.parametrize("method", ["POST", "GET", "HEAD"])
SLUGS = pytest.mark.parametrize(
    "slug", ["nobody-has-this", "UPPER", "with_underscore", "x" * 200, "a%00b", "%ff", "a.b", "-"]
)
HTML = "text/html,application/xhtml+xml"


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=30, follow_redirects=False) as client:
        yield client


def url(hub: list[str], tenant: Tenant) -> str:
    return f"{hub[0]}/t/{tenant.slug}/mcp"


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def seen(response: httpx2.Response) -> tuple[int, bytes, dict[str, str]]:
    """All a client can tell one answer from another by, but the time of day."""
    return response.status_code, response.content, {k: v for k, v in response.headers.items() if k != "date"}


def disable(cast: Cast, tenant: Tenant) -> None:
    with cast.see(tenant):
        Tenant.objects.filter(pk=tenant.pk).update(enabled=False)


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


@METHODS
def test_a_wrong_credential_is_called_so(hub: list[str], cast: Cast, client: httpx2.Client, method: str) -> None:
    answer = client.request(method, url(hub, cast.acme), headers=bearer("mcphub_wrong"))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == (
        'Bearer error="invalid_token", error_description="The credential is not valid here.", '
        f'resource_metadata="{hub[0]}/.well-known/oauth-protected-resource/t/{cast.acme.slug}/mcp"'
    )


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
def test_only_post_is_served(hub: list[str], cast: Cast, client: httpx2.Client, method: str) -> None:
    _, key = cast.key(cast.uma)
    answer = client.request(method, url(hub, cast.acme), headers={**bearer(key), "accept": "text/event-stream"})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_the_endpoint_does_not_redirect(hub: list[str], cast: Cast, host: Make) -> None:
    assert host().request("tools/list").status == 200
    with httpx2.Client() as client:
        assert client.post(f"{url(hub, cast.acme)}/").status_code in {403, 404, 405}


def test_a_preflight_is_answered_to_our_own_origin(hub: list[str], cast: Cast, client: httpx2.Client) -> None:
    headers = {
        "origin": hub[0],
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, mcp-param-region, evil: x",
    }
    answer = client.options(url(hub, cast.acme), headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == hub[0]
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert {"authorization", "content-type", "mcp-protocol-version", "mcp-method", "mcp-name"} <= set(allowed)
    assert "mcp-param-region" in allowed
    assert "evil" not in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1.evil.example", "http://[", "http://x:99999",
     "http://localhost:99999", "ws://127.0.0.1", "127.0.0.1", ""],
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
def test_a_foreign_origin_is_refused(
    hub: list[str], cast: Cast, client: httpx2.Client, method: str, origin: str
) -> None:
    _, key = cast.key(cast.uma)
    answer = client.request(method, url(hub, cast.acme), headers={**bearer(key), "origin": origin})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("name", ["host", "origin"])
def test_a_name_too_long_to_be_one_is_refused_and_not_remembered(name: str) -> None:
    remembered = {"host": request._host_allowed, "origin": request._origin_allowed}[name]
    before = remembered.cache_info()
    headers = {"host": "127.0.0.1", name: "x" * 301}
    with pytest.raises(Fault):
        request.check_peer(Head(method="POST", lines=[], headers=headers, address=""))
    assert remembered.cache_info() == before


@pytest.mark.parametrize("path", ["/t/nobody/mcp", "/admin/login/", "/livez"])
def test_headers_that_are_too_large_together_are_refused(hub: list[str], client: httpx2.Client, path: str) -> None:
    many = {f"x-{n}": "x" * 1000 for n in range(70)}
    assert client.get(hub[0] + path, headers=many).status_code == 431
    assert client.get(hub[0] + path, headers={"x-one": "x" * 66_000}).status_code == 431
    assert client.get(hub[0] + path + "?q=" + "x" * 40_000, headers={"x-one": "x" * 30_000}).status_code == 431
    assert client.get(hub[0] + path, headers={"x-one": "x" * 60_000}).status_code != 431


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


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_our_own_origin_may_read_every_answer(hub: list[str], cast: Cast, host: Make, name: str) -> None:
    cast.tool(cast.acme, "count_slowly")
    origin = hub[0].replace("127.0.0.1", name)
    asking = host()
    call = {"name": "count_slowly", "arguments": {}, "_meta": {"progressToken": 1}}
    answers = [
        asking.request("tools/list", origin=origin),
        asking.request("tools/call", call, origin=origin),
        asking.post(b"{", origin=origin),
        Host(asking.base, asking.slug).request("tools/list", origin=origin),
    ]
    assert [answer.status for answer in answers] == [200, 200, 400, 401]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == origin
        assert "WWW-Authenticate" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "a b", "[", ""])
def test_a_host_that_is_not_ours_is_refused(hub: list[str], cast: Cast, host: Make, name: str) -> None:
    answer = host().request("tools/list", host=name)
    assert answer.status in {400, 421}
    assert name not in {"evil.example", "127.0.0.1.evil.example"} or answer.status == 421


def test_a_browser_is_shown_how_to_connect(hub: list[str], cast: Cast, client: httpx2.Client) -> None:
    for path in ("/mcp", "/"):
        page = client.get(f"{hub[0]}/t/{cast.acme.slug}{path}", headers={"accept": HTML})
        assert page.status_code == 200
        assert "Connect to Acme" in page.text
        assert f"<code>{url(hub, cast.acme)}</code>" in page.text
        for name in ("Claude Code", "Codex", "Gemini CLI", "Cursor", "VS Code", "Any other"):
            assert f">{name}</h3>" in page.text
        assert f"claude mcp add --transport http {cast.acme.slug} {url(hub, cast.acme)}" in page.text
        assert "YOUR_API_KEY" in page.text


def test_the_page_brings_nothing_inline_and_a_strict_policy(hub: list[str], cast: Cast, client: httpx2.Client) -> None:
    page = client.get(url(hub, cast.acme), headers={"accept": HTML})
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?! src=\"/static/)|<style|\sstyle=|\son\w+=|javascript:", page.text)
    assert page.headers["x-frame-options"] == "DENY"
    sheet = re.search(r'href="(/static/[^"]+\.css)"', page.text)
    assert sheet
    assert client.get(hub[0] + sheet[1]).headers["content-type"].startswith("text/css")


def test_the_page_escapes_the_tenants_name(hub: list[str], cast: Cast, client: httpx2.Client) -> None:
    with cast.see(cast.acme):
        Tenant.objects.filter(pk=cast.acme.pk).update(name="<script>alert(1)</script>")
    assert "<script>" not in client.get(url(hub, cast.acme), headers={"accept": HTML}).text


def test_a_host_that_takes_a_stream_is_no_browser(hub: list[str], cast: Cast, client: httpx2.Client) -> None:
    assert client.get(url(hub, cast.acme), headers={"accept": f"{HTML}, text/event-stream"}).status_code == 401
    assert client.get(url(hub, cast.acme), headers={"accept": "*/*"}).status_code == 401


def test_the_resource_metadata_names_the_endpoint_as_people_type_it(
    hub: list[str], cast: Cast, client: httpx2.Client
) -> None:
    cast.scopes(cast.acme, {"tickets.read": "Read", "tickets.write": "Write"})
    challenge = client.post(url(hub, cast.acme)).headers["www-authenticate"]
    where = re.search(r'resource_metadata="([^"]+)"', challenge)
    assert where
    answer = client.get(where[1])
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json() == {
        "resource": url(hub, cast.acme),
        "resource_name": "Acme",
        "authorization_servers": [hub[0]],
        "scopes_supported": ["tickets.read", "tickets.write"],
        "bearer_methods_supported": ["header"],
        "resource_documentation": f"{hub[0]}/t/{cast.acme.slug}/",
    }


def test_any_origin_may_read_the_resource_metadata(hub: list[str], cast: Cast, client: httpx2.Client) -> None:
    where = f"{hub[0]}/.well-known/oauth-protected-resource/t/{cast.acme.slug}/mcp"
    asked = {"origin": "https://anywhere.example", "access-control-request-headers": "mcp-protocol-version"}
    preflight = client.options(where, headers={**asked, "access-control-request-method": "GET"})
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, "*")
    assert "mcp-protocol-version" in preflight.headers["access-control-allow-headers"].lower()
    head = client.head(where)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["access-control-allow-origin"] == "*"
    assert client.post(where).status_code in {403, 405}


def test_any_origin_may_read_that_there_is_no_such_resource(hub: list[str], client: httpx2.Client) -> None:
    where = f"{hub[0]}/.well-known/oauth-protected-resource/t/nobody-has-this/mcp"
    answer = client.get(where, headers={"origin": "https://anywhere.example"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (404, "*")


@pytest.mark.parametrize("path", ["/.well-known/oauth-protected-resource/t/{}/mcp", "/t/{}/", "/t/{}/mcp"])
def test_pages_of_a_disabled_tenant_are_as_unknown_as_of_none(
    hub: list[str], cast: Cast, client: httpx2.Client, path: str
) -> None:
    disable(cast, cast.acme)
    answers = [
        client.get(hub[0] + path.format(slug), headers={"accept": HTML}) for slug in (cast.acme.slug, "nobody-has-this")
    ]
    assert answers[0].status_code == 404
    assert seen(answers[0]) == seen(answers[1])


def test_a_ready_hub_says_so(hub: list[str], client: httpx2.Client) -> None:
    assert client.get(f"{hub[0]}/livez").json() == {"status": "ok"}
    answer = client.get(f"{hub[0]}/readyz")
    assert answer.status_code == 200
    assert set(answer.json()["checks"].values()) == {"ok"}


def test_without_its_database_the_hub_lives_but_is_not_ready(client: httpx2.Client) -> None:
    with database.doomed() as (environment, drop), serve(count=1, **environment) as (base,):
        drop()
        answer = client.get(f"{base}/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"]["database"] == "does not answer"
        assert client.get(f"{base}/livez").status_code == 200
        call = Answer(client.post(f"{base}/t/acme/mcp", headers=bearer("any"), json={}))
        assert (call.status, call.error["code"]) == (503, -32002)
        assert call.headers["retry-after"] == "5"
        assert "psycopg" not in call.response.text
