"""Codes are exchanged once, by whom they were given to, for what was granted."""

import datetime
from typing import Any

import pytest
from django.test import Client as Browser
from django.utils import timezone

from access.models import AccessToken, Grant, OutsideIssuer, RefreshToken, digest_of
from access.oauth import families
from tests.access.falls import FALLS
from tests.access.grants import LetIn, basic, post
from tests.access.sent import FORM, refreshing
from tests.cast import Cast
from tests.postgres import as_owner, rows
from tests.tokens import registered


def test_a_code_is_exchanged_for_tokens_of_what_was_granted(program: LetIn) -> None:
    answer = program.redeem(program.code(), resource=program.resource)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"
    assert answer["Cache-Control"] == "no-store"
    assert answer["Access-Control-Allow-Origin"] == "*"
    token = answer.json()
    assert token["token_type"] == "Bearer"
    assert 3590 <= token["expires_in"] <= 3600
    assert set(token["scope"].split()) == {"a.read", "a.write"}
    row = program.opened(token["access_token"])
    assert (row.tenant_id, row.member_id, row.consent_id) == (
        program.tenant.pk,
        program.consent.member_id,
        program.consent.pk,
    )
    assert row.resource == [program.resource]


def test_no_code_and_no_token_is_anywhere_in_the_database(program: LetIn) -> None:
    code = program.code()
    token = program.redeem(code).json()
    with as_owner() as owner:
        for table in ("access_grant", "access_accesstoken", "access_refreshtoken"):
            for secret in (code, token["access_token"], token["refresh_token"]):
                query = f"SELECT 1 FROM {table} t WHERE t::text LIKE %s"  # noqa: S608
                assert rows(owner, query, f"%{secret[10:]}%") == []
        assert rows(owner, "SELECT 1 FROM access_grant WHERE code = %s", digest_of(code)) == [(1,)]


def test_a_replayed_code_revokes_what_it_issued(program: LetIn) -> None:
    code = program.code()
    token = program.redeem(code).json()
    again = program.redeem(code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert program.live() == (0, 0)
    assert program.refresh(token["refresh_token"]).json()["error"] == "invalid_grant"
    assert program.reasons() == ["code_replayed", "token_revoked"]


@pytest.mark.parametrize(
    ("wrong", "error", "reason"),
    [
        ({"code_verifier": "x" * 64}, "invalid_grant", "pkce_failed"),
        ({"code_verifier": "short"}, "invalid_grant", "pkce_failed"),
        ({"code_verifier": None}, "invalid_request", "pkce_failed"),
        ({"code_verifier": ""}, "invalid_request", "pkce_failed"),
        ({"redirect_uri": "http://127.0.0.1:5556/callback"}, "invalid_grant", "redirect_mismatch"),
        ({"resource": "https://evil.example/mcp"}, "invalid_target", "invalid_target"),
    ],
)
def test_a_wrong_exchange_spends_the_code(program: LetIn, wrong: dict[str, Any], error: str, reason: str) -> None:
    code = program.code()
    answer = program.redeem(code, **wrong)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert answer.json()["error_description"]
    with program.cast.see(program.tenant):
        assert Grant.objects.get(code=digest_of(code)).used_at is not None
    assert program.redeem(code).json()["error"] == "invalid_grant"
    assert program.reasons() == [reason, "code_replayed"]
    assert program.live() == (0, 0)


@pytest.mark.parametrize("verifier", ["v" * 42, "v" * 129, "v" * 60 + "+"])
def test_a_verifier_that_may_not_be_one_proves_nothing_though_it_hashes_right(cast: Cast, verifier: str) -> None:
    program = LetIn(cast, verifier=verifier)
    assert program.redeem(program.code()).json()["error"] == "invalid_grant"
    assert program.reasons() == ["pkce_failed"]


@pytest.mark.parametrize("absent", [None, ""])
def test_the_redirect_uri_need_not_be_said_again(program: LetIn, absent: str | None) -> None:
    assert program.redeem(program.code(), redirect_uri=absent).status_code == 200


@pytest.mark.parametrize("named", ["other", "prefix", "both", "slash"])
def test_a_code_for_one_endpoint_is_not_good_for_another(program: LetIn, named: str) -> None:
    theirs = program.resource.replace(program.tenant.slug, program.cast.beta.slug)
    resources = {
        "other": [theirs],
        "prefix": [program.resource.removesuffix("/mcp")],
        "both": [program.resource, theirs],
        "slash": [program.resource + "/"],
    }
    answer = program.redeem(program.code(), resource=resources[named])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")
    assert program.live() == (0, 0)


def test_the_same_resource_may_be_named_twice(program: LetIn) -> None:
    assert program.redeem(program.code(), resource=[program.resource, program.resource]).status_code == 200


def test_another_client_cannot_use_a_code_nor_spoil_it(program: LetIn) -> None:
    code, thief = program.code(), registered()
    stolen = program.redeem(code, client_id=thief.client_id)
    assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")
    assert program.redeem(code).status_code == 200


def test_an_old_code_is_refused(program: LetIn) -> None:
    code = program.code()
    with program.cast.see(program.tenant):
        Grant.objects.filter(code=digest_of(code)).update(expires=timezone.now())
    assert program.redeem(code).json()["error"] == "invalid_grant"
    assert program.reasons() == ["code_expired"]


def test_a_code_lives_a_minute_at_most(program: LetIn) -> None:
    code = program.code()
    with program.cast.see(program.tenant):
        lives = Grant.objects.get(code=digest_of(code)).expires - timezone.now()
    assert lives <= datetime.timedelta(seconds=60)


@pytest.mark.parametrize(("fall", "reason"), FALLS)
def test_nothing_is_exchanged_once_the_grant_has_fallen(program: LetIn, fall: Any, reason: str) -> None:
    code, token = program.code(), program.tokens()["refresh_token"]
    with program.cast.see(program.tenant):
        fall(program)
    for answer in (program.redeem(code), program.refresh(token)):
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert program.reasons() == [reason, reason]


def test_a_tenant_that_trusts_an_outside_server_gets_no_more_tokens_here(program: LetIn) -> None:
    code, token = program.code(), program.tokens()["refresh_token"]
    with program.cast.see(program.tenant):
        OutsideIssuer.objects.create(
            tenant=program.tenant,
            issuer="https://id.example",
            jwks_uri="https://id.example/keys",
            matches="email",
            enabled=True,
        )
    assert program.redeem(code).json()["error"] == "invalid_target"
    assert program.refresh(token).json()["error"] == "invalid_target"


def test_revoking_a_consent_spends_its_codes_and_ends_its_tokens(program: LetIn) -> None:
    code = program.code()
    program.tokens()
    with program.cast.see(program.tenant):
        families.revoke_tokens_of(program.consent)
    assert program.live() == (0, 0)
    assert program.redeem(code).json()["error"] == "invalid_grant"


def test_a_consent_of_an_hour_brings_no_refresh_token(cast: Cast) -> None:
    program = LetIn(cast, lasts=datetime.timedelta(hours=1))
    token = program.tokens()
    assert "refresh_token" not in token
    assert token["expires_in"] <= 3600
    assert program.live() == (1, 0)


def test_no_token_outlives_its_consent(cast: Cast) -> None:
    program = LetIn(cast, lasts=datetime.timedelta(days=1))
    token = program.tokens()
    soon = timezone.now() + datetime.timedelta(minutes=5)
    with cast.see(cast.acme):
        assert RefreshToken.objects.get(token_checksum=digest_of(token["refresh_token"])).until == program.consent.until
        RefreshToken.objects.filter(token_checksum=digest_of(token["refresh_token"])).update(until=soon)
    after = program.refresh(token["refresh_token"]).json()
    assert after["expires_in"] <= 300
    assert program.opened(after["access_token"]).expires <= soon


def test_a_clients_first_token_keeps_it_from_lapsing(cast: Cast) -> None:
    program = LetIn(cast, client=registered(lapses_at=timezone.now() + datetime.timedelta(days=1)))
    program.tokens()
    program.client.refresh_from_db()
    assert program.client.lapses_at is None
    assert program.client.used_at is not None


def test_an_unknown_client_is_told_so(program: LetIn) -> None:
    answer = program.redeem(program.code(), client_id="nobody")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer["WWW-Authenticate"].startswith("Basic ")
    assert program.reasons() == ["invalid_client"]


@pytest.mark.parametrize("grant", ["password", "implicit", "urn:ietf:params:oauth:grant-type:device_code", "x"])
def test_no_other_grant_exists(program: LetIn, grant: str) -> None:
    answer = post("/token", {"grant_type": grant, "client_id": program.client.client_id, "username": "u"})
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")


def test_a_client_of_people_cannot_ask_for_itself(program: LetIn) -> None:
    answer = post("/token", {"grant_type": "client_credentials", "client_id": program.client.client_id})
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")


# How a client authenticates


@pytest.mark.parametrize(
    ("method", "by_header", "by_form", "status"),
    [
        ("client_secret_basic", "s:e c%", None, 200),
        ("client_secret_basic", None, "s:e c%", 401),
        ("client_secret_basic", "wrong", None, 401),
        ("client_secret_basic", "", None, 401),
        ("client_secret_basic", None, None, 401),
        ("client_secret_basic", "s:e c%", "s:e c%", 400),
        ("client_secret_post", None, "s:e c%", 200),
        ("client_secret_post", "s:e c%", None, 401),
        ("client_secret_post", None, "", 401),
        ("none", None, None, 200),
        ("none", None, "", 200),
        ("none", "", None, 200),
        ("none", None, "s:e c%", 401),
        ("none", "s:e c%", None, 401),
        ("private_key_jwt", None, "s:e c%", 401),
        ("private_key_jwt", None, None, 401),
    ],
)
def test_a_client_authenticates_by_its_own_method_and_no_other(
    cast: Cast, method: str, by_header: str | None, by_form: str | None, status: int
) -> None:
    from urllib.parse import quote_plus

    program = LetIn(cast, client=registered(secret="s:e c%", auth_method=method))
    form = program.exchange(program.code(), client_secret=by_form)
    headers = {}
    if by_header is not None:
        headers["authorization"] = basic(quote_plus(program.client.client_id), quote_plus(by_header))
    assert post("/token", form, **headers).status_code == status


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Bearer x", "Basic /w==", "Digest a=b"])
def test_a_broken_authorization_header_is_not_authentication(program: LetIn, header: str) -> None:
    form = program.exchange(program.code())
    assert post("/token", form, authorization=header).status_code == 401


def test_an_assertion_that_proves_nothing_is_no_authentication(program: LetIn) -> None:
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    form = program.exchange(program.code(), client_assertion="a.b.c", client_assertion_type=kind)
    assert post("/token", form).status_code == 401


def test_a_client_cannot_name_another_beside_its_credentials(cast: Cast) -> None:
    program = LetIn(cast, client=registered(secret="s", auth_method="client_secret_basic"))
    form = program.exchange(program.code(), client_id="other")
    answer = post("/token", form, authorization=basic(program.client.client_id, "s"))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


# Requests that cannot be read


@pytest.mark.parametrize(
    "body",
    [
        b"grant_type=refresh_token&refresh_token=" + b"x" * 17_000,
        b"grant_type=refresh_token&grant_type=refresh_token&refresh_token=x",
        b"grant_type=refresh_token&refresh_token=x&refresh_token=y",
        b"grant_type=refresh_token&refresh_token=%00",
        b"grant_type=refresh_token&refresh_token=%ff",
        b"grant_type=refresh_token&refresh_token=%ED%A0%80",
        b"grant_type=refresh_token&refresh_token=\xff",
        b"grant_type%00=refresh_token",
        b"&".join(b"a%d=1" % number for number in range(60)),
        b"{}",
        b"",
        b"grant_type=",
    ],
)
def test_a_body_that_cannot_be_read_is_an_invalid_request(body: bytes) -> None:
    answer = Browser().post("/token", body, content_type=FORM)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert answer.json()["error_description"]


@pytest.mark.parametrize("path", ["/token", "/revoke", "/introspect"])
def test_only_forms_without_a_query_are_read(program: LetIn, path: str) -> None:
    form = {**refreshing(program.client.client_id, "x"), "token": "x"}
    assert post(f"{path}?client_id=x", form).json()["error"] == "invalid_request"
    as_json = Browser().post(path, form, content_type="application/json")
    assert (as_json.status_code, as_json.json()["error"]) == (400, "invalid_request")
    got = Browser().get(path)
    assert (got.status_code, got["Allow"], got.json()["error"]) == (405, "POST, OPTIONS", "invalid_request")


def test_the_toolkits_own_words_in_a_form_mean_nothing(program: LetIn) -> None:
    """Its request object answers any attribute from the form."""
    smuggled = {"scopes": "a.admin", "user": "olga", "client": "x", "extra_credentials": "x", "expires_in": "99999999"}
    answer = program.redeem(program.code(), **smuggled)
    assert answer.status_code == 200
    assert set(answer.json()) == {"access_token", "expires_in", "token_type", "scope", "refresh_token"}
    assert set(answer.json()["scope"].split()) == {"a.read", "a.write"}


@pytest.mark.parametrize("path", ["/token", "/revoke", "/introspect"])
def test_browsers_may_ask_from_any_origin(path: str) -> None:
    answer = Browser().options(path)
    assert answer.status_code == 204
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert "Authorization" in answer["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer


def test_a_cookie_of_a_person_widens_nothing(program: LetIn) -> None:
    """The token endpoint sees the rows of the presented secret's tenant, whoever's browser sends it."""
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(program.cast.olga, backend="django.contrib.auth.backends.ModelBackend")
    answer = browser.post("/token", "grant_type=refresh_token&refresh_token=x&client_id=x", content_type=FORM)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_the_toolkits_own_pages_are_not_there() -> None:
    for path in ("/o/token/", "/o/authorize/", "/token/", "/oauth/token", "/device-authorization"):
        assert Browser().get(path).status_code == 404


def test_without_a_database_the_answer_is_to_come_back(program: LetIn, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError, connection
    from psycopg_pool import PoolTimeout

    def away(*_: Any) -> None:
        raise OperationalError("no connection") from PoolTimeout("no connection")

    form = program.exchange(program.code())
    monkeypatch.setattr(connection, "cursor", away)
    answer = post("/token", form)
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert int(answer["Retry-After"]) > 0


def test_no_access_token_is_kept_of_a_refused_exchange(program: LetIn) -> None:
    program.redeem(program.code(), resource="https://evil.example/")
    with program.cast.see(program.tenant):
        assert not AccessToken.objects.filter(consent=program.consent).exists()
