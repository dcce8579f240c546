"""A client that was killed gets nothing for what it holds."""

import pytest

from oversight import switches, things
from tests.access.grants import LetIn, post
from tests.cast import Cast
from tests.host import Host
from tests.tokens import registered


@pytest.mark.parametrize("here", [False, True], ids=["in every tenant", "in one"])
def test_the_tokens_of_a_killed_client_are_refused_everywhere(cast: Cast, hub: list[str], here: bool) -> None:
    program = LetIn(cast, client=registered(secret="s3cret", auth_method="client_secret_post"))
    held = program.tokens(client_secret="s3cret")
    host = Host(hub[0], cast.acme.slug, held["access_token"])
    assert host.request("tools/list").status == 200
    with cast.see(cast.acme, cast.beta):
        thing = things.find("client", str(program.client.pk), cast.acme if here else None)
        assert thing is not None
        switch = switches.throw(thing, actor=None)
    for base in hub:
        assert Host(base, cast.acme.slug, held["access_token"]).request("tools/list").status == 401
    refreshed = program.refresh(held["refresh_token"], client_secret="s3cret")
    assert refreshed.json()["error"] in ("invalid_grant", "invalid_client", "unauthorized_client")
    for kind in ("access_token", "refresh_token"):
        form = {"token": held[kind], "client_id": program.client.client_id, "client_secret": "s3cret"}
        answer = post("/introspect", form)
        assert answer.json().get("active", False) is False
    with cast.see(cast.acme, cast.beta):
        switches.lift(switch, actor=None)
    answer = host.request("tools/list")
    assert answer.status == (401 if here else 200), "in one tenant, what members let it do was taken back"
