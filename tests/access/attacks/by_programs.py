"""Attacks by programs at the endpoints, a row for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import httpx2
from mcp_types import INVALID_REQUEST

from access.models import Client
from tenants import actions as tenant_actions
from tenants.models import Role
from tests.access.attacks.scene import Scene, Table, error_of
from tests.access.desk import READ
from tests.access.races import at_once
from tests.access.sent import REDIRECT
from tests.person import answer_of

APP: Final = "https://app.example.com/callback"
ATTACKS: Final = Table()
attack = ATTACKS.row


# The seven holes of the toolkit


@attack("hole 1: approval_prompt=auto carries one tenant's consent to another", error="200", reason=None)
def _(scene: Scene) -> str:
    with scene.cast.see(scene.cast.beta):
        tenant_actions.add_member(scene.cast.beta, scene.cast.uma, role=Role.USER, actor="system")
    program = scene.program(APP)
    scene.tokens(program, READ)
    assert answer_of(scene.uma.leads_to(scene.uma.open(program.ask(scene.cast.acme.slug, READ).url)))["code"]
    return scene.authorize(program, resource=scene.resource(scene.cast.beta), scope=READ, approval_prompt="auto")


@attack(
    "hole 2: no resource, for a token that is good everywhere",
    error="invalid_target",
    reason="invalid_target",
    refused_at="hub",
)
def _(scene: Scene) -> str:
    return scene.authorize(scene.program(), resource=None)


@attack("hole 3: a resource only at the token endpoint", error="invalid_target", reason="invalid_target")
def _(scene: Scene) -> str:
    program = scene.program()
    asked, code = scene.code(program)
    answered = error_of(program.redeem(asked, code, resource=scene.resource(scene.cast.beta)))
    assert error_of(program.redeem(asked, code)) == "invalid_grant", "the code is spent"
    return answered


@attack("hole 4: a token of another tenant", error="401", reason="foreign_token", refused_at="beta")
def _(scene: Scene) -> str:
    token = scene.tokens(scene.program())["access_token"]
    return str(scene.host(token, scene.cast.beta).request("tools/list").status)


@attack("hole 4: whose token it is, the other tenant is told too", error="401", reason="used_elsewhere")
def _(scene: Scene) -> str:
    token = scene.tokens(scene.program())["access_token"]
    return str(scene.host(token, scene.cast.beta).request("tools/list").status)


@attack("hole 4: a longer path than the audience", error="404", reason=None)
def _(scene: Scene) -> str:
    token = scene.tokens(scene.program())["access_token"]
    return str(httpx2.post(f"{scene.url}/more", headers={"authorization": f"Bearer {token}"}).status_code)


@attack(
    "hole 5: registration of a machine",
    error="invalid_client_metadata",
    reason="registration_refused",
    refused_at="hub",
)
def _(scene: Scene) -> str:
    return scene.register(REDIRECT, grant_types=["client_credentials"])


@attack(
    "hole 5: client_credentials by who registered",
    error="unauthorized_client",
    reason="unauthorized_client",
    refused_at="hub",
)
def _(scene: Scene) -> str:
    program = scene.registered()
    form = {"grant_type": "client_credentials", "client_id": program.client_id, "resource": scene.url}
    return error_of(program.post("/token", form))


@attack(
    "hole 6: registration of http://evil", error="invalid_redirect_uri", reason="registration_refused", refused_at="hub"
)
def _(scene: Scene) -> str:
    return scene.register("http://evil.example/callback")


@attack("hole 7: a code is replayed, and what it issued falls", error="invalid_grant", reason="code_replayed")
def _(scene: Scene) -> str:
    program = scene.program()
    asked, code = scene.code(program)
    tokens = program.redeem(asked, code).json()
    assert scene.opens(tokens["access_token"])
    answered = error_of(program.redeem(asked, code))
    assert not scene.opens(tokens["access_token"])
    assert error_of(program.refresh(tokens["refresh_token"])) == "invalid_grant"
    return answered


# Replays in parallel


@attack(
    "replay: one code from six sides gives one answer, and then nothing", error="invalid_grant", reason="code_replayed"
)
def _(scene: Scene) -> str:
    program = scene.program()
    asked, code = scene.code(program)
    answers = at_once([lambda: program.redeem(asked, code)] * 6)
    (good,) = (answer for answer in answers if answer.status_code == 200)
    assert not scene.opens(good.json()["access_token"])
    assert error_of(program.refresh(good.json()["refresh_token"])) == "invalid_grant"
    (error,) = {error_of(answer) for answer in answers if answer is not good}
    return error


@attack(
    "replay: one refresh token from six sides makes one chain, whose replay ends it",
    error="invalid_grant",
    reason="refresh_replayed",
)
def _(scene: Scene) -> str:
    program = scene.program()
    first = scene.tokens(program)["refresh_token"]
    answers = at_once([lambda: program.refresh(first)] * 6)
    assert {answer.status_code for answer in answers} == {200}
    ((access, second),) = {(answer.json()["access_token"], answer.json()["refresh_token"]) for answer in answers}
    third = program.refresh(second).json()
    answered = error_of(program.refresh(first))
    assert not scene.opens(access)
    assert not scene.opens(third["access_token"])
    return answered


@attack("replay: a stolen refresh token after the grace", error="invalid_grant", reason="refresh_replayed")
def _(scene: Scene) -> str:
    program = scene.program()
    first = scene.tokens(program)["refresh_token"]
    second = program.refresh(first).json()
    scene.owner.execute(
        "UPDATE access_refreshtoken SET revoked = revoked - interval '46 seconds' WHERE tenant_id = %s",
        [scene.cast.acme.pk],
    )
    answered = error_of(program.refresh(first))
    assert not scene.opens(second["access_token"])
    return answered


@attack("replay: a refresh token in another program's hands", error="invalid_grant", reason="invalid_grant")
def _(scene: Scene) -> str:
    program, thief = scene.program(), scene.program()
    tokens = scene.tokens(program)
    answered = error_of(thief.refresh(tokens["refresh_token"]))
    assert scene.opens(tokens["access_token"]), "who stole nothing is not punished"
    return answered


# PKCE


@attack("PKCE: no challenge", error="invalid_request", reason="invalid_request")
def _(scene: Scene) -> str:
    return scene.authorize(scene.program(), code_challenge=None, code_challenge_method=None)


@attack("PKCE: plain", error="invalid_request", reason="invalid_request")
def _(scene: Scene) -> str:
    return scene.authorize(scene.program(), code_challenge="x" * 43, code_challenge_method="plain")


@attack("PKCE: no method, which would mean plain", error="invalid_request", reason="invalid_request")
def _(scene: Scene) -> str:
    return scene.authorize(scene.program(), code_challenge_method=None)


@attack("PKCE: a wrong verifier, and the code is spent", error="invalid_grant", reason="pkce_failed")
def _(scene: Scene) -> str:
    program = scene.program()
    asked, code = scene.code(program)
    answered = error_of(program.redeem(asked, code, code_verifier="w" * 43))
    assert error_of(program.redeem(asked, code)) == "invalid_grant"
    return answered


@attack("PKCE: no verifier", error="invalid_request", reason="pkce_failed")
def _(scene: Scene) -> str:
    program = scene.program()
    asked, code = scene.code(program)
    return error_of(program.redeem(asked, code, code_verifier=None))


# Resources


@attack("resource: two of them", error="invalid_target", reason="invalid_target", refused_at="hub")
def _(scene: Scene) -> str:
    return scene.authorize(scene.program(), resource=[scene.url, scene.resource(scene.cast.beta)])


for trick, change in {
    "a trailing slash": lambda url: f"{url}/",
    "a fragment": lambda url: f"{url}#x",
    "a query": lambda url: f"{url}?x=1",
    "upper case": lambda url: url.replace("http://", "HTTP://"),
    "another host": lambda url: url.replace("127.0.0.1", "evil.example"),
    "the hub itself": lambda url: url[: url.index("/t/")],
    "an unknown tenant": lambda url: url.replace("/t/acme", "/t/nobody"),
}.items():

    def _elsewhere(scene: Scene, change: Callable[[str], str] = change) -> str:
        return scene.authorize(scene.program(), resource=change(scene.url))

    attack(f"resource: {trick}", error="invalid_target", reason="invalid_target", refused_at="hub")(_elsewhere)


@attack("resource: another one at refresh", error="invalid_target", reason="invalid_target")
def _(scene: Scene) -> str:
    program = scene.program()
    token = scene.tokens(program)["refresh_token"]
    return error_of(program.refresh(token, resource=scene.resource(scene.cast.beta)))


# Mix-up


@attack("mix-up: a code of one program redeemed by another", error="invalid_grant", reason="invalid_grant")
def _(scene: Scene) -> str:
    program, other = scene.program(), scene.program()
    asked, code = scene.code(program)
    answered = error_of(other.redeem(asked, code))
    assert program.redeem(asked, code).status_code == 200, "the program's own code still works"
    return answered


@attack("mix-up: a code redeemed for another redirect URI", error="invalid_grant", reason="redirect_mismatch")
def _(scene: Scene) -> str:
    program = scene.program()
    asked, code = scene.code(program)
    return error_of(program.redeem(asked, code, redirect_uri="http://127.0.0.1:1/callback"))


@attack(
    "mix-up: an answer of this server taken for another's, which iss tells apart",
    error="access_denied",
    reason="consent_denied",
)
def _(scene: Scene) -> str:
    program = scene.program()
    yes = answer_of(scene.uma.visit(program.ask(scene.cast.acme.slug).url))
    no = answer_of(scene.uma.visit(program.ask(scene.cast.acme.slug).url, deny=True))
    assert yes["iss"] == no["iss"] == scene.base
    return no["error"]


# Secrets where they do not belong


@attack("in the URL: an access token at the endpoint", error=str(INVALID_REQUEST), reason="token_in_url")
def _(scene: Scene) -> str:
    token = scene.tokens(scene.program())["access_token"]
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    response = httpx2.post(f"{scene.url}?access_token={token}", json=body, headers=scene.host(None).headers())
    assert response.status_code in {400, 401}
    return str(response.json()["error"]["code"])


@attack("in the URL: a code at the token endpoint", error="invalid_request", reason="invalid_request", refused_at="hub")
def _(scene: Scene) -> str:
    program = scene.program()
    asked, code = scene.code(program)
    form = {"grant_type": "authorization_code", "client_id": program.client_id, "code_verifier": asked.verifier}
    return error_of(program.post(f"/token?code={code}", form))


@attack("in the URL: a token to be revoked", error="invalid_request", reason="invalid_request", refused_at="hub")
def _(scene: Scene) -> str:
    program = scene.program()
    token = scene.tokens(program)["refresh_token"]
    answered = error_of(program.post(f"/revoke?token={token}", {"client_id": program.client_id}))
    assert program.refresh(token).status_code == 200
    return answered


# Clients


@attack("client: introspection by a public one", error="invalid_client", reason="invalid_client")
def _(scene: Scene) -> str:
    program = scene.program()
    token = scene.tokens(program)["access_token"]
    return error_of(program.post("/introspect", {"token": token, "client_id": program.client_id}))


@attack("client: a public one that shows a secret", error="invalid_client", reason="invalid_client")
def _(scene: Scene) -> str:
    program = scene.program()
    token = scene.tokens(program)["refresh_token"]
    return error_of(program.refresh(token, client_secret="guess"))


@attack("client: blocked by the hub between the yes and the code", error="invalid_grant", reason="client_blocked")
def _(scene: Scene) -> str:
    program = scene.program()
    asked, code = scene.code(program)
    scene.owner.execute("UPDATE access_client SET blocked_at = now() WHERE client_id = %s", [program.client_id])
    assert Client.objects.get(client_id=program.client_id).live is False
    return error_of(program.redeem(asked, code))
