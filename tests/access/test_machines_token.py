"""Client credentials: a machine gets what its tenant listed for it, and what its member may hold."""

from typing import Any

import pytest
from django.utils import timezone

from access.models import AccessToken, Admission, Client, RefreshToken, digest_of
from audit.models import Entry, Event
from tenants.addresses import resource
from tenants.models import Member, Role, Tenant, User
from tests import tokens
from tests.access.grants import basic, post
from tests.cast import Cast


@pytest.fixture
def scoped(cast: Cast) -> Cast:
    cast.scopes(cast.acme, {"a.read": "Read", "a.write": "Write", "a.admin": "All", "a.other": "Other"})
    cast.change_scope(cast.acme, "a.admin", roles=[Role.OWNER])
    return cast


@pytest.fixture
def robot(scoped: Cast) -> Client:
    return tokens.robot(scoped, scoped.uma, scopes=["a.read", "a.write", "a.admin", "gone"])


def _ask(robot: Client, secret: str | None = None, **changes: Any) -> Any:
    form = {"grant_type": "client_credentials", **changes}
    return post("/token", form, authorization=basic(robot.client_id, "s3cret" if secret is None else secret))


def test_a_machine_gets_its_scopes_for_its_tenant_and_nothing_to_refresh(scoped: Cast, robot: Client) -> None:
    answer = _ask(robot)
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    token = answer.json()
    assert set(token) == {"access_token", "expires_in", "token_type", "scope"}
    assert token["scope"] == "a.read a.write"  # a.admin is beyond its member's role, `gone` is no scope
    with scoped.see(scoped.acme):
        row = AccessToken.objects.get(token_checksum=digest_of(token["access_token"]))
        assert (row.tenant_id, row.member_id, row.user_id) == (scoped.acme.pk, robot.member_id, scoped.uma.pk)
        assert (row.consent_id, row.resource) == (None, [resource(scoped.acme.slug)])
        assert not RefreshToken.objects.filter(application=robot).exists()


def test_it_may_ask_for_less(robot: Client) -> None:
    assert _ask(robot, scope="a.read").json()["scope"] == "a.read"


def test_what_it_asks_for_beyond_its_own_is_left_out(robot: Client) -> None:
    assert _ask(robot, scope="a.read a.admin a.other nothing").json()["scope"] == "a.read"


@pytest.mark.parametrize("scope", ["a.admin", "a.other", "gone", "a.admin nothing"])
def test_it_may_not_ask_only_for_more(robot: Client, scope: str) -> None:
    answer = _ask(robot, scope=scope)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


def test_the_resource_must_be_its_tenants(scoped: Cast, robot: Client) -> None:
    assert _ask(robot, resource=resource(scoped.acme.slug)).status_code == 200
    for named in (resource(scoped.beta.slug), [resource(scoped.acme.slug), resource(scoped.beta.slug)]):
        answer = _ask(robot, resource=named)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")


@pytest.mark.parametrize("secret", ["", "wrong"])
def test_a_machine_needs_its_secret(robot: Client, secret: str) -> None:
    answer = _ask(robot, secret)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("grant", ["authorization_code", "refresh_token"])
def test_a_machine_has_no_other_grant(robot: Client, grant: str) -> None:
    answer = _ask(robot, grant_type=grant, code="x", refresh_token="x")
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")


@pytest.mark.parametrize("fall", ["client", "here", "member", "user", "tenant"])
def test_a_machine_that_may_no_more_gets_nothing(scoped: Cast, robot: Client, fall: str) -> None:
    with scoped.see(scoped.acme):
        if fall == "client":
            Client.objects.filter(pk=robot.pk).update(blocked_at=timezone.now())
        elif fall == "here":
            Admission.objects.create(tenant=scoped.acme, client=robot, state=Admission.State.BLOCKED)
        elif fall == "member":
            Member.objects.filter(machines=robot).update(active=False)
        elif fall == "user":
            User.objects.filter(pk=scoped.uma.pk).update(is_active=False)
        else:
            Tenant.objects.filter(pk=scoped.acme.pk).update(enabled=False)
    answer = _ask(robot)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    with scoped.see(scoped.acme):
        (entry,) = Entry.objects.filter(tenant_id=scoped.acme.pk, event=Event.TURNED_AWAY)
        assert not AccessToken.objects.filter(application=robot).exists()
    assert entry.actor == scoped.uma.username
    assert entry.client == robot.client_id


def test_a_machine_can_end_its_token(scoped: Cast, robot: Client) -> None:
    token = _ask(robot).json()["access_token"]
    assert post("/revoke", {"token": token}, authorization=basic(robot.client_id, "s3cret")).status_code == 200
    with scoped.see(scoped.acme):
        assert not AccessToken.objects.filter(application=robot).exists()
