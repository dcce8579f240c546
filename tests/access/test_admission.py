"""Admission: which programs a tenant lets its members use."""

import pytest

from access.actions.clients import admit_client, block_client, create_client
from access.clients import admission
from access.models import AccessToken, Client, Consent
from tenants.models import Admits, Tenant
from tests import tokens
from tests.admin.conftest import entries
from tests.cast import Cast


def admits(cast: Cast, policy: Admits) -> Tenant:
    with cast.see(cast.acme):
        cast.acme.admits = policy
        cast.acme.save()
    return cast.acme


def standing(cast: Cast, client: Client, tenant: Tenant | None = None) -> str:
    with cast.see(tenant or cast.acme):
        return admission.standing(tenant or cast.acme, client)


@pytest.mark.parametrize(
    ("policy", "at_first", "after_asking"),
    [
        (Admits.OPEN, "admitted", "admitted"),
        (Admits.ASK, "may_ask", "asked"),
        (Admits.LIST, "refused", "refused"),
    ],
)
def test_what_a_tenant_says_to_a_new_client(cast: Cast, policy: Admits, at_first: str, after_asking: str) -> None:
    acme, client = admits(cast, policy), tokens.client()
    assert standing(cast, client) == at_first
    with cast.see(acme):
        assert admission.ask(acme, client, member=cast.member(acme, cast.uma))
    assert standing(cast, client) == after_asking
    with cast.see(acme):
        admit_client(acme, client, actor=cast.adam.username)
    assert standing(cast, client) == "admitted"
    with cast.see(acme):
        block_client(acme, client, actor=cast.adam.username)
    assert standing(cast, client) == "blocked"


def test_one_tenants_decision_is_not_anothers(cast: Cast) -> None:
    client = tokens.client()
    with cast.see(cast.acme):
        block_client(cast.acme, client, actor=cast.adam.username)
    assert standing(cast, client) == "blocked"
    assert standing(cast, client, cast.beta) == "admitted"


def test_a_client_that_an_admin_made_need_not_be_admitted(cast: Cast) -> None:
    acme = admits(cast, Admits.LIST)
    with cast.see(acme):
        client = create_client(acme, name="ours", redirect_uris=["https://ours.example/cb"], actor="olga")
    assert standing(cast, client) == "admitted"
    with cast.see(acme):
        block_client(acme, client, actor="olga")
    assert standing(cast, client) == "blocked"


def test_asking_changes_no_decision_and_is_told_once(cast: Cast) -> None:
    acme, client = admits(cast, Admits.ASK), tokens.client()
    uma = cast.member(acme, cast.uma)
    with cast.see(acme):
        assert admission.ask(acme, client, member=uma)
        assert not admission.ask(acme, client, member=uma)
        block_client(acme, client, actor="olga")
        assert not admission.ask(acme, client, member=uma)
    assert standing(cast, client) == "blocked"
    said = [entry.reason for entry in entries(cast, acme, subject__startswith="access.Admission:")]
    assert said == ["asked", "blocked"]


def test_blocking_revokes_what_members_of_that_tenant_let_the_client_do(cast: Cast) -> None:
    client = tokens.client()
    here = tokens.consent(cast, cast.uma, by=client)
    there = tokens.consent(cast, cast.bob, cast.beta, by=client)
    for consent in (here, there):
        with cast.see(consent.tenant):
            tokens.token(consent)
    with cast.see(cast.acme):
        assert block_client(cast.acme, client, actor="olga")
        assert not block_client(cast.acme, client, actor="olga")
    with cast.see():
        assert {one.pk for one in Consent.objects.filter(client=client, revoked_at=None)} == {there.pk}
        assert [one.tenant_id for one in AccessToken.objects.filter(application=client)] == [cast.beta.pk]
