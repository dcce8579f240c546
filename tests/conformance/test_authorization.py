"""The conformance suite's scenarios for authorization servers, in every revision, with a person who says yes."""

from __future__ import annotations

from pathlib import Path

import pytest

from access.models import Client
from tests.cast import Cast
from tests.conformance import authorization, suite
from tests.person import Person


@pytest.mark.node
@pytest.mark.parametrize("revision", suite.REVISIONS)
def test_every_authorization_scenario_of_the_revision_succeeds(
    revision: str, hub: list[str], cast: Cast, tmp_path: Path
) -> None:
    cast.scopes(cast.acme, {"words.read": "Read words"})
    cast.tool(cast.acme, "echo", scopes=["words.read"])
    client = Client.objects.create(
        client_id=f"conformance-{cast.acme.slug}",
        name="Conformance suite",
        client_type=Client.CLIENT_PUBLIC,
        authorization_grant_type=Client.GRANT_AUTHORIZATION_CODE,
        redirect_uris="http://127.0.0.1/callback",
    )
    with Person(hub[0], cast.uma.username, cast.password) as uma:
        found = authorization.run(
            revision,
            issuer=hub[0],
            client_id=client.client_id,
            resource=f"{hub[0]}/t/{cast.acme.slug}/mcp",
            visit=uma.visit,
            results=tmp_path,
        )
    assert set(found) == authorization.SCENARIOS
    assert not {scenario: outcome.lacking for scenario, outcome in found.items() if not outcome.passed}
