"""What the protocol demands of an authorization server and what real hosts need of one, a row for each demand.

`spec` is what the specification (2026-07-28 and the RFCs it names) says a server must do, `hosts` what real hosts were
seen to need. What a host does with it end to end is in test_end_to_end, what is refused in test_hostile.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import httpx2
import pytest

from access.models import Client
from tenants.models import Tenant
from tests.access.desk import READ, WRITE, Desk
from tests.access.program import Program
from tests.host import Host
from tests.person import answer_of, consent_form, words

CURSOR: Final = "cursor://anysphere.cursor-mcp/oauth/callback"
VS_CODE: Final = [
    "https://insiders.vscode.dev/redirect",
    "https://vscode.dev/redirect",
    "http://localhost/",
    "http://127.0.0.1:33418/",
]
METADATA: Final = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]

Check = Callable[[Desk], None]
ROWS: Final[list[Any]] = []


def row(demand: str) -> Callable[[Check], Check]:
    """The check that proves this demand."""

    def add(check: Check) -> Check:
        ROWS.append(pytest.param(check, id=demand))
        return check

    return add


def document(desk: Desk, path: str) -> dict[str, Any]:
    response = httpx2.get(f"{desk.base}{path}")
    assert response.status_code == 200, (path, response.status_code)
    found: dict[str, Any] = response.json()
    return found


def about(desk: Desk, tenant: Tenant) -> dict[str, Any]:
    return document(desk, f"/.well-known/oauth-protected-resource/t/{tenant.slug}/mcp")


def challenge(response: httpx2.Response) -> dict[str, str]:
    """The parameters of the Bearer challenge, which must be spelled so that simple parsers read it."""
    header = response.headers["www-authenticate"]
    assert re.fullmatch(r'Bearer( \w+="[^"]*"(,(?= )|$))+', header), header
    return dict(re.findall(r'(\w+)="([^"]*)"', header))


def narrow(desk: Desk, *scopes: str) -> str:
    """An access token for just these scopes."""
    return desk.tokens(desk.program(), " ".join(scopes))["access_token"]


# discovery


@row("spec: resource metadata lies at the well-known path of each endpoint, and nowhere for an unknown tenant")
def _(desk: Desk) -> None:
    assert about(desk, desk.cast.acme)["resource"] == desk.url
    unknown = f"{desk.base}/.well-known/oauth-protected-resource/t/no-such-tenant/mcp"
    assert httpx2.get(unknown).status_code == 404


@row("spec: RFC 8414 and OpenID discovery answer, and no other path is taken for an issuer")
def _(desk: Desk) -> None:
    for path in METADATA:
        assert document(desk, path)["token_endpoint"] == f"{desk.base}/token"
        assert httpx2.get(f"{desk.base}{path}/t/{desk.cast.acme.slug}/mcp").status_code == 404


@row("hosts: one path-less issuer for all tenants, equal to authorization_servers[0] byte for byte")
def _(desk: Desk) -> None:
    for tenant in (desk.cast.acme, desk.cast.beta):
        assert about(desk, tenant)["authorization_servers"] == [desk.base]
    assert {document(desk, path)["issuer"] for path in METADATA} == {desk.base}
    assert not desk.base.endswith("/")


@row("hosts: the resource is the URL people type")
def _(desk: Desk) -> None:
    assert about(desk, desk.cast.beta)["resource"] == desk.resource(desk.cast.beta)


@row("spec: S256 alone is advertised, and iss in responses is announced")
def _(desk: Desk) -> None:
    for path in METADATA:
        found = document(desk, path)
        assert found["code_challenge_methods_supported"] == ["S256"]
        assert found["authorization_response_iss_parameter_supported"] is True
        assert found["response_types_supported"] == ["code"]


@row("hosts: metadata documents and dynamic registration are both offered")
def _(desk: Desk) -> None:
    for path in METADATA:
        found = document(desk, path)
        assert found["client_id_metadata_document_supported"] is True
        assert found["registration_endpoint"] == f"{desk.base}/register"


@row("spec: no offline_access in challenges or metadata")
def _(desk: Desk) -> None:
    said = [str(document(desk, path)) for path in METADATA] + [str(about(desk, desk.cast.acme))]
    said += [httpx2.post(desk.url).headers["www-authenticate"]]
    assert "offline_access" not in " ".join(said)


@row("spec: a browser of any origin may read the documents and use the token, registration and revocation endpoints")
def _(desk: Desk) -> None:
    asks = {"origin": "https://inspector.example", "access-control-request-method": "POST"}
    for path in ("/token", "/register", "/revoke"):
        preflight = httpx2.options(f"{desk.base}{path}", headers=asks)
        assert preflight.status_code in {200, 204}
        assert preflight.headers["access-control-allow-origin"] == "*"
        assert "content-type" in preflight.headers["access-control-allow-headers"].lower()
    for path in METADATA:
        assert httpx2.get(f"{desk.base}{path}", headers=asks).headers["access-control-allow-origin"] == "*"


# the challenge at the endpoint


@row("hosts: POST, GET and HEAD without a credential are 401 with the challenge, on the bare path, whatever is missing")
def _(desk: Desk) -> None:
    with httpx2.Client(headers={"accept": "application/json, text/event-stream"}) as bare:
        del bare.headers["user-agent"]
        for method in ("POST", "GET", "HEAD"):
            response = bare.request(method, desk.url)
            assert response.status_code == 401, method
            assert challenge(response)["resource_metadata"] == (
                f"{desk.base}/.well-known/oauth-protected-resource/t/{desk.cast.acme.slug}/mcp"
            )


@row("hosts: the first 401 names the working set of scopes")
def _(desk: Desk) -> None:
    found = challenge(httpx2.post(desk.url))
    assert set(found["scope"].split()) == {READ, WRITE}
    assert "error" not in found, "RFC 6750 3.1: no error when no credential was sent"


@row("spec: a wrong token is 401 invalid_token with the same challenge")
def _(desk: Desk) -> None:
    found = challenge(desk.host("mcphub_at_wrong").request("tools/list").response)
    assert found["error"] == "invalid_token"
    assert found["resource_metadata"]


@row("spec: a shortfall is 403 insufficient_scope with everything the call needs at once, beside what was granted")
def _(desk: Desk) -> None:
    desk.cast.scopes(desk.cast.acme, {"files.read": "Read files", "files.write": "Write files"})
    desk.cast.tool(desk.cast.acme, "count_slowly", scopes=["files.read", "files.write"])
    answer = desk.host(narrow(desk, READ)).call("count_slowly")
    assert answer.status == 403
    found = challenge(answer.response)
    assert found["error"] == "insufficient_scope"
    assert set(found["scope"].split()) == {READ, "files.read", "files.write"}
    assert found["error_description"]
    assert found["resource_metadata"]


@row("spec: the scope hierarchy is honoured")
def _(desk: Desk) -> None:
    desk.cast.scopes(desk.cast.acme, {"notes.all": "All of it"}, notes_all=[READ, WRITE])
    host = desk.host(narrow(desk, "notes.all"))
    assert host.call("echo", {"text": "one"}).status == 200
    assert host.call("shout", {"text": "two"}).text == "TWO"


@row("spec: a token carries what its owner approved: what a scope comes to imply since is asked for")
def _(desk: Desk) -> None:
    program = desk.registered()
    host = desk.host(desk.tokens(program, WRITE)["access_token"])
    desk.cast.change_scope(desk.cast.acme, WRITE, implies=[READ])
    answer = host.call("echo", {"text": "one"})
    assert (answer.status, challenge(answer.response)["error"]) == (403, "insufficient_scope")
    assert "Read notes new" in words(desk.uma.open(program.ask(desk.cast.acme.slug, WRITE).url).text)


@row("spec: a listed tool may be beyond the grant: it steps up on the call")
def _(desk: Desk) -> None:
    host = desk.host(narrow(desk, READ))
    assert host.tools() == ["echo", "shout"]
    assert host.call("shout", {"text": "two"}).status == 403


# registration


@row("hosts: several redirect URIs in one registration, private schemes among them")
def _(desk: Desk) -> None:
    uris = [*VS_CODE, CURSOR]
    response = httpx2.post(f"{desk.base}/register", json={"client_name": "Editor", "redirect_uris": uris})
    assert response.status_code == 201, response.text
    assert response.json()["redirect_uris"] == uris


@row("spec: a redirect URI is matched exactly, with any port on loopback, localhost included")
def _(desk: Desk) -> None:
    program = desk.program("http://localhost:1/callback", "http://127.0.0.1/callback")
    for uri in ("http://localhost:4321/callback", "http://127.0.0.1:8765/callback"):
        asked = program.ask(desk.cast.acme.slug, redirect_uri=uri)
        location = desk.uma.visit(asked.url)
        assert location.startswith(f"{uri}?")
        code = answer_of(location)["code"]
        assert program.redeem(asked, code, redirect_uri=uri).status_code == 200


@row("hosts: an answer reaches a private scheme")
def _(desk: Desk) -> None:
    program = desk.program(CURSOR)
    location = desk.uma.visit(program.ask(desk.cast.acme.slug).url)
    assert location.startswith(f"{CURSOR}?")


@row("hosts: whatever way to authenticate a host registers with, it can redeem with what it is told")
def _(desk: Desk) -> None:
    for method in ("none", "client_secret_post", "client_secret_basic"):
        told = {"redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": method}
        answer = httpx2.post(f"{desk.base}/register", json=told).json()
        secret = answer.get("client_secret")
        assert bool(secret) == (answer["token_endpoint_auth_method"] != "none")
        with Program(desk.base, answer["client_id"], "http://127.0.0.1/cb") as program:
            asked = program.ask(desk.cast.acme.slug)
            code = answer_of(desk.uma.visit(asked.url))["code"]
            assert program.redeem(asked, code, client_secret=secret).status_code == 200


@row("hosts: an unknown client at the token endpoint is 401 invalid_client, so that hosts register again")
def _(desk: Desk) -> None:
    with Program(desk.base, "gone-long-ago") as program:
        response = program.refresh("mcphub_rt_x")
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


@row("hosts: a registration is not pruned early, and never once it was used")
def _(desk: Desk) -> None:
    program = desk.registered()
    desk.owner.execute("UPDATE access_client SET lapses_at = lapses_at - interval '29 days'")
    desk.owner.execute("SELECT access_forget()")
    desk.tokens(program)
    desk.owner.execute("UPDATE access_client SET lapses_at = lapses_at - interval '29 days'")
    desk.owner.execute("SELECT access_forget()")
    assert Client.objects.get(client_id=program.client_id).lapses_at is None


@row("hosts: a registered scope does not cap a later request")
def _(desk: Desk) -> None:
    program = desk.registered(scope=READ)
    assert set(desk.tokens(program, f"{READ} {WRITE}")["scope"].split()) == {READ, WRITE}


# consent


@row("spec: iss is in every authorization response, success and error")
def _(desk: Desk) -> None:
    program = desk.program()
    slug = desk.cast.acme.slug
    answers = [
        answer_of(desk.uma.visit(program.ask(slug).url)),
        answer_of(desk.uma.visit(program.ask(slug).url, deny=True)),
        answer_of(desk.uma.visit(program.ask(slug, "nothing.of.ours").url)),
        answer_of(desk.uma.visit(program.ask(slug, resource=None).url)),
        answer_of(desk.uma.visit(program.ask(slug, code_challenge=None).url)),
    ]
    assert [answer.get("error") for answer in answers] == [
        None,
        "access_denied",
        "invalid_scope",
        "invalid_target",
        "invalid_request",
    ]
    assert {answer["iss"] for answer in answers} == {desk.base}


@row("spec: the consent page names the program, the tenant and the host the answer goes to")
def _(desk: Desk) -> None:
    program = desk.program("https://app.example.com/callback")
    page = words(desk.uma.open(program.ask(desk.cast.acme.slug).url).text)
    for said in ("Notes program", desk.cast.acme.name, "app.example.com", "Read notes", "Write notes"):
        assert said in page


@row("spec: the consent page cannot be framed, and its policy leaves the way back open")
def _(desk: Desk) -> None:
    program = desk.program()
    page = desk.uma.open(program.ask(desk.cast.acme.slug).url)
    policy = page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert page.headers["x-frame-options"] == "DENY"
    assert "form-action" not in policy
    assert "no-store" in page.headers["cache-control"]


@row("hosts: /authorize survives a second GET without cookies")
def _(desk: Desk) -> None:
    program = desk.program()
    asked = program.ask(desk.cast.acme.slug)
    page = desk.uma.open(asked.url)
    assert "/accounts/login/" in httpx2.get(asked.url).headers["location"]
    answered = desk.uma.submit(page, consent_form(page.text), decision="allow")
    code = answer_of(desk.uma.leads_to(answered))["code"]
    assert program.redeem(asked, code).status_code == 200


@row("hosts: prompt=consent and offline_access are accepted")
def _(desk: Desk) -> None:
    program = desk.program()
    asked = program.ask(desk.cast.acme.slug, f"{READ} offline_access", prompt="consent")
    tokens = program.redeem(asked, answer_of(desk.uma.visit(asked.url))["code"]).json()
    assert tokens["scope"] == READ


@row("hosts: a long, doubly encoded state comes back verbatim")
def _(desk: Desk) -> None:
    state = quote(quote(f'{{"to":"/a b?c=d&e=%2F","x":"{secrets.token_urlsafe(600)}"}}'))
    program = desk.program()
    for deny in (False, True):
        asked = program.ask(desk.cast.acme.slug, state=state)
        assert answer_of(desk.uma.visit(asked.url, deny=deny))["state"] == state


@row("hosts: unknown and excess scopes are narrowed, not an error")
def _(desk: Desk) -> None:
    program = desk.program()
    assert desk.tokens(program, f"{READ} openid no.such.scope")["scope"] == READ


# tokens


@row("hosts: resource is required at authorize; at the token endpoint it may be missing and must match")
def _(desk: Desk) -> None:
    program = desk.program()
    slug, foreign = desk.cast.acme.slug, desk.resource(desk.cast.beta)
    assert answer_of(desk.uma.visit(program.ask(slug, resource=None).url))["error"] == "invalid_target"
    for resource, expected in ((None, 200), (desk.url, 200), (foreign, 400)):
        asked = program.ask(slug)
        response = program.redeem(asked, answer_of(desk.uma.visit(asked.url))["code"], resource=resource)
        assert response.status_code == expected, response.text
    assert response.json()["error"] == "invalid_target"


@row("spec: an access token lives an hour at most, and its answer is kept by nobody")
def _(desk: Desk) -> None:
    program = desk.program()
    asked = program.ask(desk.cast.acme.slug)
    response = program.redeem(asked, answer_of(desk.uma.visit(asked.url, span="forever"))["code"])
    assert 3500 < response.json()["expires_in"] <= 3600
    assert response.json()["token_type"].lower() == "bearer"
    assert response.headers["cache-control"] == "no-store"


@row("hosts: a client that lost the answer gets it again within the grace")
def _(desk: Desk) -> None:
    program = desk.program()
    first = desk.tokens(program)["refresh_token"]
    answers = [program.refresh(first).json() for _ in range(2)]
    assert answers[0]["refresh_token"] == answers[1]["refresh_token"] != first
    assert desk.opens(answers[1]["access_token"])


@row("spec: refresh tokens rotate, and reuse ends all that came of the grant")
def _(desk: Desk) -> None:
    program = desk.program()
    first = desk.tokens(program)
    second = program.refresh(first["refresh_token"]).json()
    third = program.refresh(second["refresh_token"]).json()
    replayed = program.refresh(first["refresh_token"])
    assert (replayed.status_code, replayed.json()["error"]) == (400, "invalid_grant")
    assert program.refresh(third["refresh_token"]).status_code == 400
    assert not any(desk.opens(tokens["access_token"]) for tokens in (first, second, third))


@row("hosts: a refresh without scope keeps the grant, also after a narrow one")
def _(desk: Desk) -> None:
    program = desk.program()
    tokens = desk.tokens(program)
    narrowed = program.refresh(tokens["refresh_token"], scope=READ).json()
    assert narrowed["scope"] == READ
    assert set(program.refresh(narrowed["refresh_token"]).json()["scope"].split()) == {READ, WRITE}


@row("hosts: a refresh token lives as long as the consent")
def _(desk: Desk) -> None:
    program = desk.program()
    tokens = desk.tokens(program, span="forever")
    desk.owner.execute(
        "UPDATE access_accesstoken SET created = created - interval '1 year', expires = expires - interval '1 year'"
    )
    desk.owner.execute("UPDATE access_refreshtoken SET created = created - interval '1 year'")
    desk.owner.execute("SELECT access_forget()")
    assert program.refresh(tokens["refresh_token"]).status_code == 200


@row("spec: a client may revoke its tokens, whichever it hands in, and learns nothing of others'")
def _(desk: Desk) -> None:
    program, other = desk.program(), desk.program()
    for kind in ("access_token", "refresh_token"):
        tokens = desk.tokens(program)
        assert other.revoke(tokens[kind]).status_code == 200
        assert desk.opens(tokens["access_token"])
        assert program.revoke(tokens[kind]).status_code == 200
        assert not desk.opens(tokens["access_token"])
        assert program.refresh(tokens["refresh_token"]).status_code == 400


@row("spec: nothing that opens the door is kept in clear")
def _(desk: Desk) -> None:
    program = desk.program()
    asked = program.ask(desk.cast.acme.slug)
    code = answer_of(desk.uma.visit(asked.url))["code"]
    tokens = program.redeem(asked, code).json()
    presented = (code, tokens["access_token"], tokens["refresh_token"])
    for table in ("access_grant", "access_accesstoken", "access_refreshtoken"):
        kept = desk.owner.execute(f"SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} t").fetchone()  # noqa: S608
        assert kept is not None
        assert not any(secret in str(kept[0]) for secret in presented)


# the endpoint


@row("hosts: a token needs no session in either era")
def _(desk: Desk) -> None:
    token = narrow(desk, READ)
    for revision in ("2025-11-25", "2026-07-28"):
        answer = Host(desk.base, desk.cast.acme.slug, token, revision).request("tools/list")
        assert answer.status == 200
        assert "mcp-session-id" not in answer.headers


@row("hosts: all tools are on one page")
def _(desk: Desk) -> None:
    listed = desk.host(narrow(desk, READ)).request("tools/list").result
    assert "nextCursor" not in listed


@row("hosts: an API key as Bearer needs no OAuth at all")
def _(desk: Desk) -> None:
    _, key = desk.cast.key(desk.cast.uma)
    assert desk.opens(key)


@pytest.mark.parametrize("holds", ROWS)
def test_the_protocol_holds(holds: Check, desk: Desk) -> None:
    holds(desk)
