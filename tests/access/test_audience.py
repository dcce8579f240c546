"""A token is good at exactly one endpoint: that of the tenant whose resource it was asked for."""

import secrets

import httpx2
import pytest
from django.db import transaction

from tenants.actions import add_member, create_tenant
from tenants.models import Role, Tenant
from tests import tokens
from tests.cast import Cast


@pytest.fixture
def neighbours(cast: Cast) -> tuple[Tenant, Tenant]:
    """Two tenants, the name of one a prefix of the other's, and uma in both with a token of the first."""
    slug = f"p{secrets.token_hex(4)}"
    with transaction.atomic():
        made = tuple(create_tenant(Tenant(slug=one, name=one), actor="system") for one in (slug, f"{slug}2"))
    for tenant in made:
        with cast.see(tenant):
            add_member(tenant, cast.uma, role=Role.OWNER, actor="system")
    return made[0], made[1]


def status(url: str, secret: str) -> int:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"authorization": f"Bearer {secret}", "accept": "application/json, text/event-stream"}
    return httpx2.post(url, json=body, headers=headers).status_code


def test_a_token_is_good_at_its_own_endpoint_only(
    hub: list[str], cast: Cast, neighbours: tuple[Tenant, Tenant]
) -> None:
    one, two = neighbours
    _, secret = tokens.granted(cast, cast.uma, one)
    _, longer = tokens.granted(cast, cast.uma, two)
    assert status(f"{hub[0]}/t/{one.slug}/mcp", secret) == 200
    assert status(f"{hub[0]}/t/{two.slug}/mcp", longer) == 200
    assert status(f"{hub[0]}/t/{two.slug}/mcp", secret) == 401
    assert status(f"{hub[0]}/t/{one.slug}/mcp", longer) == 401
    assert status(f"{hub[0]}/t/{one.slug.upper()}/mcp", secret) == 404
    for path in ("mcp/", "mcp/x", "mcp%2Fx", "MCP", ""):
        assert status(f"{hub[0]}/t/{one.slug}/{path}", secret) in {403, 404, 405}


@pytest.mark.parametrize("header", ["Authorization: Bearer", "X-API-Key:"])
def test_a_token_is_taken_where_a_key_is(hub: list[str], cast: Cast, header: str) -> None:
    _, secret = tokens.granted(cast, cast.uma)
    name, _, scheme = header.partition(": ")
    headers = {name.rstrip(":"): f"{scheme} {secret}".strip()}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    assert httpx2.post(f"{hub[1]}/t/{cast.acme.slug}/mcp", json=body, headers=headers).status_code == 200
