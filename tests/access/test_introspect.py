"""Introspection and revocation: a client asks about its own tokens, and about no other's."""

import datetime
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from access.models import AccessToken, digest_of
from tests.access.falls import FALLS
from tests.access.grants import LetIn, basic, post
from tests.cast import Cast
from tests.tokens import registered, robot


@pytest.fixture
def program(cast: Cast) -> LetIn:
    """A program with a secret."""
    return LetIn(cast, client=registered(secret="s3cret", auth_method="client_secret_post"))


def _tokens(program: LetIn) -> Any:
    return program.tokens(client_secret="s3cret")


def _introspect(program: LetIn, token: str, **changes: Any) -> Any:
    form = {"token": token, "client_id": program.client.client_id, "client_secret": "s3cret", **changes}
    return post("/introspect", form)


def test_a_client_learns_what_its_own_token_is_good_for(program: LetIn) -> None:
    token = _tokens(program)
    described = _introspect(program, token["access_token"]).json()
    assert described.pop("exp") - described.pop("iat") in {3599, 3600}
    assert set(described.pop("scope").split()) == {"a.read", "a.write"}
    assert described == {
        "active": True,
        "client_id": program.client.client_id,
        "username": program.user.username,
        "token_type": "Bearer",
        "sub": str(program.user.pk),
        "aud": program.resource,
        "iss": settings.BASE_URL,
    }
    assert _introspect(program, token["refresh_token"]).json()["active"] is True


def test_of_another_clients_token_it_learns_nothing(program: LetIn) -> None:
    other = LetIn(program.cast)
    for token in (other.tokens()["access_token"], other.tokens()["refresh_token"], "no token at all"):
        answer = _introspect(program, token)
        assert (answer.status_code, answer.json()) == (200, {"active": False})


def test_a_machine_learns_nothing_of_another_tenants_token(cast: Cast) -> None:
    theirs = LetIn(cast, tenant=cast.beta, user=cast.bob).tokens()["access_token"]
    spy = robot(cast, cast.uma)
    answer = post("/introspect", {"token": theirs}, authorization=basic(spy.client_id, "s3cret"))
    assert (answer.status_code, answer.json()) == (200, {"active": False})


@pytest.mark.parametrize("secret", ["", "wrong"])
def test_without_its_secret_a_client_learns_nothing(program: LetIn, secret: str) -> None:
    answer = _introspect(program, _tokens(program)["access_token"], client_secret=secret)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert program.reasons() == ["invalid_client"]


def test_a_public_client_may_not_ask(cast: Cast) -> None:
    program = LetIn(cast)
    token = program.tokens()["access_token"]
    answer = post("/introspect", {"token": token, "client_id": program.client.client_id})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(("fall", "reason"), FALLS)
def test_a_token_whose_grant_has_fallen_is_not_active(program: LetIn, fall: Any, reason: str) -> None:
    token = _tokens(program)
    with program.cast.see(program.tenant):
        fall(program)
    for kind in ("access_token", "refresh_token"):
        assert _introspect(program, token[kind]).json() == {"active": False}, reason


def test_an_expired_or_used_token_is_not_active(program: LetIn) -> None:
    token = _tokens(program)
    program.refresh(token["refresh_token"], client_secret="s3cret")
    with program.cast.see(program.tenant):
        past = timezone.now() - datetime.timedelta(seconds=1)
        AccessToken.objects.filter(token_checksum=digest_of(token["access_token"])).update(expires=past)
    for kind in ("access_token", "refresh_token"):
        assert _introspect(program, token[kind]).json() == {"active": False}


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense"])
def test_revoking_either_token_ends_both(program: LetIn, kind: str, hint: str) -> None:
    token = _tokens(program)
    form = {"token": token[kind], "token_type_hint": hint, "client_id": program.client.client_id}
    assert post("/revoke", {**form, "client_secret": "s3cret"}).status_code == 200
    assert program.live() == (0, 0)
    assert program.refresh(token["refresh_token"], client_secret="s3cret").json()["error"] == "invalid_grant"


def test_revoking_a_used_refresh_token_ends_what_came_of_it(cast: Cast) -> None:
    program = LetIn(cast)
    first = program.tokens()["refresh_token"]
    program.refresh(first)
    assert post("/revoke", {"token": first, "client_id": program.client.client_id}).status_code == 200
    assert program.live() == (0, 0)


def test_a_client_cannot_revoke_anothers_token_nor_learn_of_it(program: LetIn) -> None:
    token = _tokens(program)["access_token"]
    thief = registered()
    for presented in (token, "unknown"):
        answer = post("/revoke", {"token": presented, "client_id": thief.client_id})
        assert (answer.status_code, answer.content) == (200, b"")
    assert program.live() == (1, 1)


def test_a_client_with_a_secret_must_use_it_to_revoke(program: LetIn) -> None:
    token = _tokens(program)["access_token"]
    answer = post("/revoke", {"token": token, "client_id": program.client.client_id})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert program.live() == (1, 1)


@pytest.mark.parametrize("path", ["/revoke", "/introspect"])
def test_without_a_token_there_is_nothing_to_ask(path: str) -> None:
    assert post(path, {"client_id": "x"}).json()["error"] == "invalid_request"
