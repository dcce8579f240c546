"""Where an answer may be sent, and the request for authorization that says so."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.conf import settings
from django.utils import timezone

from access.models import Client, OutsideIssuer
from access.oauth import authorization, redirects
from access.oauth.authorization import Answerable, Unanswerable
from tests.access.grants import LetIn, visit
from tests.access.sent import REDIRECT
from tests.cast import Cast
from tests.tokens import registered

GOOD = [
    "https://app.example/cb",
    "https://app.example:8443/cb?x=1&y=a%20b",
    "http://localhost/cb",
    "http://127.0.0.1:3334/oauth/callback",
    "http://[::1]:9/cb",
    "cursor://anysphere.cursor-mcp/oauth/callback",
    "vscode://dynamicauthprovider/redirect",
    "com.example.app:/oauth",
]
BAD = [
    "",
    "/cb",
    "//app.example/cb",
    "https:/app.example",
    "https://",
    "https:///cb",
    "http://app.example/cb",
    "http://localhost.evil.example/cb",
    "http://127.0.0.1.evil.example/cb",
    "http://127.1/cb",
    "http://0.0.0.0/cb",
    "http://192.168.0.1/cb",
    "https://app.example@evil.example/cb",
    "http://localhost@evil.example/cb",
    "http://localhost:80@evil.example/cb",
    "https://@app.example/cb",
    "https://app.example/cb#x",
    "https://app.example/cb#",
    "HTTPS://app.example/cb",
    "https://App.example/cb",
    "http://LOCALHOST/cb",
    "Cursor://app/cb",
    "https://app.example\\@evil.example/cb",
    "https:\\\\app.example/cb",
    "https://app.example/cb\n",
    "https://app.example/cb\0",
    "https://app.example/\tcb",
    " https://app.example/cb",
    "https://app.example/c b",
    "https://*.example/cb",
    "https://app.example/*",
    "https://ápp.example/cb",
    "https://app.example:0/cb",
    "https://app.example:99999/cb",
    "https://app.example:x/cb",
    "https://[::1/cb",
    "javascript:alert(1)",
    "javascript://app/%0aalert(1)",
    "data:text/html,x",
    "data://x/y",
    "file:///etc/passwd",
    "blob:https://app.example/x",
    "vbscript://x/y",
    "ws://localhost/cb",
    "ftp://localhost/cb",
    "mailto:x@y.example",
    "ms-settings://x/y",
    "search-ms://x/y",
    "search://x/y",
    "https://app%2eexample/cb",
    "http://localhos%74/cb",
    "cursor://" + "x" * 292 + "/cb",
    "view-source://x/y",
    "cursor:/cb",
    "cursor:cb",
    "ab://x/y",
    "urn:ietf:wg:oauth:2.0:oob",
    "https://app.example/" + "x" * 2000,
]


@pytest.mark.parametrize("uri", GOOD)
def test_a_program_may_be_answered_there(uri: str) -> None:
    assert redirects.why_not(uri) is None
    assert redirects.matches(uri, [uri])


@pytest.mark.parametrize("uri", BAD)
def test_nobody_is_answered_there_even_if_it_were_registered(uri: str) -> None:
    assert redirects.why_not(uri)
    assert not redirects.matches(uri, [uri])


@pytest.mark.parametrize(
    ("uri", "registered", "matches"),
    [
        ("http://127.0.0.1:1234/cb", "http://127.0.0.1/cb", True),
        ("http://127.0.0.1:1234/cb", "http://127.0.0.1:99/cb", True),
        ("http://localhost:1234/cb", "http://localhost/cb", True),
        ("http://[::1]:1234/cb", "http://[::1]/cb", True),
        ("http://localhost/cb", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1/cb/", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1/cb?x=1", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1/cb/../evil", "http://127.0.0.1/cb", False),
        ("https://app.example:444/cb", "https://app.example/cb", False),
        ("https://app.example:443/cb", "https://app.example/cb", False),
        ("https://app.example/CB", "https://app.example/cb", False),
        ("https://app.example/cb/", "https://app.example/cb", False),
        ("https://app.example/cb?x=1", "https://app.example/cb", False),
        ("https://app.example/%63b", "https://app.example/cb", False),
        ("https://app.example.evil.example/cb", "https://app.example/cb", False),
        ("cursor://a/cb", "cursor://b/cb", False),
        ("cursor://a/cb/more", "cursor://a/cb", False),
    ],
)
def test_only_a_loopbacks_port_is_free(uri: str, registered: str, matches: bool) -> None:
    assert redirects.matches(uri, [registered]) is matches


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("https://a.example/cb", "https://a.example/cb?state=a+b%26c"),
        ("https://a.example/cb?x=a%20b", "https://a.example/cb?x=a%20b&state=a+b%26c"),
        ("https://a.example/cb?", "https://a.example/cb?state=a+b%26c"),
        ("cursor://a/cb", "cursor://a/cb?state=a+b%26c"),
    ],
)
def test_an_answer_keeps_what_the_address_has(uri: str, location: str) -> None:
    response = redirects.answer(uri, {"state": "a b&c"})
    assert (response.status_code, response["Location"]) == (302, location)


# The request for authorization


def test_a_request_says_what_is_asked(program: LetIn) -> None:
    asked = program.asked(scope="a.read offline_access openid", prompt="consent", approval_prompt="auto")
    assert asked.client == program.client
    assert asked.redirect_uri == REDIRECT
    assert asked.scopes == {"a.read"}
    assert (asked.tenant_id, asked.resource) == (program.tenant.pk, program.resource)
    assert asked.state == "s%25 é"
    assert asked.prompt == {"consent"}
    assert program.asked(scope=None).scopes == frozenset()
    assert program.asked(state=None).state == ""


@pytest.mark.parametrize("uri", [*GOOD[:1], *GOOD[2:]])
def test_every_registered_kind_of_address_is_answered(cast: Cast, uri: str) -> None:
    program = LetIn(cast, client=registered(uri=uri))
    assert program.asked(redirect_uri=uri).redirect_uri == uri


@pytest.mark.parametrize("uri", [uri for uri in BAD if uri and "\0" not in uri])
def test_a_strange_address_is_never_redirected_to(program: LetIn, uri: str) -> None:
    with pytest.raises(Unanswerable) as refused:
        program.asked(redirect_uri=uri)
    assert refused.value.reason == "redirect_mismatch"
    assert "127.0.0.1" not in refused.value.says


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"client_id": None}, "unknown_client"),
        ({"client_id": "nobody"}, "unknown_client"),
        ({"client_id": "a\0b"}, "unknown_client"),
        ({"client_id": "x" * 5000}, "unknown_client"),
        ({"redirect_uri": None}, "redirect_mismatch"),
        ({"redirect_uri": "http://127.0.0.1/other"}, "redirect_mismatch"),
        ({"redirect_uri": [REDIRECT, REDIRECT]}, "invalid_request"),
        ({"client_id": ["a", "b"]}, "invalid_request"),
        ({"state": ["a", "b"]}, "invalid_request"),
        ({"code_challenge": ["a", "b"]}, "invalid_request"),
        ({"x": ["1"] * 2000}, "invalid_request"),
    ],
)
def test_what_cannot_be_trusted_is_not_redirected(program: LetIn, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unanswerable) as refused:
        program.asked(**changes)
    assert refused.value.reason == reason
    assert refused.value.says


@pytest.mark.parametrize("column", ["blocked_at", "lapses_at"])
def test_a_blocked_or_lapsed_client_is_not_redirected_to(program: LetIn, column: str) -> None:
    Client.objects.filter(pk=program.client.pk).update(**{column: timezone.now()})
    with pytest.raises(Unanswerable):
        program.asked()


def test_a_tenants_own_client_is_unknown_to_another(cast: Cast) -> None:
    program = LetIn(cast, tenant=cast.beta, user=cast.bob)
    with cast.see(cast.acme):
        own = registered(tenant=cast.acme)
    with pytest.raises(Unanswerable):
        program.asked(client_id=own.client_id)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"resource": None}, "invalid_target"),
        ({"resource": "https://evil.example/mcp"}, "invalid_target"),
        ({"resource": "/"}, "invalid_target"),
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "none"}, "unsupported_response_type"),
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": "x" * 500}, "invalid_request"),
        ({"scope": "nothing.known"}, "invalid_scope"),
    ],
)
def test_a_wrong_request_is_told_to_its_client(program: LetIn, changes: dict[str, Any], error: str) -> None:
    with pytest.raises(Answerable) as refused:
        program.asked(**changes)
    told = authorization.refuse(refused.value, refused.value.error, refused.value.description)
    query = dict(parse_qsl(urlsplit(told["Location"]).query))
    assert told["Location"].startswith(REDIRECT + "?")
    assert (query["error"], query["state"], query["iss"]) == (error, "s%25 é", settings.BASE_URL)


@pytest.mark.parametrize("kind", ["two", "twice", "suffix", "prefix", "slash", "query", "case"])
def test_the_resource_is_exactly_one_endpoint(program: LetIn, kind: str) -> None:
    own = program.resource
    resources = {
        "two": [own, own.replace(program.tenant.slug, program.cast.beta.slug)],
        "twice": [own, own],
        "suffix": own + "/x",
        "prefix": own.removesuffix("/mcp"),
        "slash": own + "/",
        "query": own + "?x",
        "case": own.replace("http:", "HTTP:"),
    }
    with pytest.raises(Answerable) as refused:
        program.asked(resource=resources[kind])
    assert refused.value.error == "invalid_target"


def test_a_tenant_that_trusts_an_outside_server_is_no_resource_here(program: LetIn) -> None:
    with program.cast.see(program.tenant):
        OutsideIssuer.objects.create(
            tenant=program.tenant, issuer="https://id.example", jwks_uri="https://id.example/keys", matches="email"
        )
    with pytest.raises(Answerable) as refused:
        program.asked()
    assert refused.value.error == "invalid_target"


def test_a_code_comes_with_state_and_issuer(program: LetIn) -> None:
    asked = program.asked()
    with program.cast.see(program.tenant):
        told = authorization.issue(
            visit({}), asked=asked, member=program.consent.member, consent=program.consent, scopes=["a.read"]
        )
    query = dict(parse_qsl(urlsplit(told["Location"]).query))
    assert set(query) == {"code", "state", "iss"}
    assert (query["state"], query["iss"]) == ("s%25 é", settings.BASE_URL)
    assert program.redeem(query["code"]).json()["scope"] == "a.read"
