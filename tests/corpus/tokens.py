"""Attacks with tokens and codes that are somebody else's, spent or over: each goes to the endpoints as programs do, and
tells whether it opened nothing."""

import datetime
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from django.utils import timezone

from access.actions.clients import block_client, disable_client
from access.actions.consents import revoke_consent
from access.admit import TOKEN_PREFIX
from access.models import AccessToken, Consent
from tenants import actions as tenant_actions
from tenants.addresses import resource
from tenants.models import Role
from tests.access.grants import LetIn, post
from tests.cast import Cast
from tests.gateway.confirming import FORMS, Noting, noting
from tests.host import Host
from tests.tokens import registered


@dataclass(frozen=True, kw_only=True)
class LetInScene:
    """A program that uma let in at acme, whose `note` leaves a line in a file; beta has such a tool too, and another
    program."""

    cast: Cast
    program: LetIn
    hub: list[str]
    path: Path

    def at(self, token: str, *, worker: int = 0, slug: str = "") -> Noting:
        host = Host(self.hub[worker], slug or self.cast.acme.slug, token)
        return Noting(host, self.path, FORMS)

    def stopped(self, *tokens: str) -> bool:
        """Whether no worker runs a call by any of these, and each is turned away."""
        answers = [self.at(token, worker=worker).call() for token in tokens for worker in (0, 1)]
        return all(answer.status == 401 for answer in answers) and not self.lines

    def runs(self, token: str, *, worker: int = 0) -> bool:
        before = len(self.lines)
        answer = self.at(token, worker=worker).call()
        return answer.status == 200 and len(self.lines) == before + 1

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    @property
    def thief(self) -> LetIn:
        """Another program, which somebody else let in."""
        return LetIn(self.cast, client=registered("Other program"), user=self.cast.anna)


def let_in(cast: Cast, hub: list[str], path: Path) -> LetInScene:
    given = {"read_only": False, "destructive": False}
    noting(cast, **given)
    cast.tool(cast.beta, "note", **given)
    return LetInScene(cast=cast, program=LetIn(cast), hub=hub, path=path)


def _refused(answer: Any) -> bool:
    return bool(answer.status_code in (400, 401) and "access_token" not in answer.json())


def _at_another_tenant(scene: LetInScene) -> bool:
    token = scene.program.tokens()["access_token"]
    with scene.cast.see(scene.cast.beta):
        tenant_actions.add_member(scene.cast.beta, scene.cast.uma, role=Role.USER, actor="system")
    answer = scene.at(token, slug=scene.cast.beta.slug).call()
    return answer.status == 401 and not scene.lines


def _after_the_consent(scene: LetInScene) -> bool:
    tokens = scene.program.tokens()
    with scene.cast.see(scene.cast.acme):
        revoke_consent(scene.program.consent, actor=scene.cast.uma.username)
    return scene.stopped(tokens["access_token"]) and _refused(scene.program.refresh(tokens["refresh_token"]))


def _after_its_time(scene: LetInScene) -> bool:
    token = scene.program.tokens()["access_token"]
    with scene.cast.see(scene.cast.acme):
        AccessToken.objects.filter(pk=scene.program.opened(token).pk).update(expires=timezone.now())
    return scene.stopped(token)


def _after_the_consents_time(scene: LetInScene) -> bool:
    tokens = scene.program.tokens()
    with scene.cast.see(scene.cast.acme):
        Consent.objects.filter(pk=scene.program.consent.pk).update(until=timezone.now())
    return scene.stopped(tokens["access_token"]) and _refused(scene.program.refresh(tokens["refresh_token"]))


def _given_back(kind: str) -> Callable[[LetInScene], bool]:
    def act(scene: LetInScene) -> bool:
        tokens = scene.program.tokens()
        post("/revoke", {"token": tokens[kind], "client_id": scene.program.client.client_id})
        return scene.stopped(tokens["access_token"]) and _refused(scene.program.refresh(tokens["refresh_token"]))

    return act


def _of_a_client_that_was(block: Callable[[LetInScene], Any]) -> Callable[[LetInScene], bool]:
    def act(scene: LetInScene) -> bool:
        tokens = scene.program.tokens()
        with scene.cast.see(scene.cast.acme):
            block(scene)
        return scene.stopped(tokens["access_token"]) and _refused(scene.program.refresh(tokens["refresh_token"]))

    return act


def _of_who_left(scene: LetInScene) -> bool:
    token = scene.program.tokens()["access_token"]
    with scene.cast.see(scene.cast.acme):
        tenant_actions.remove_member(scene.program.consent.member, actor="system")
    return scene.stopped(token)


def _refreshed_twice(scene: LetInScene) -> bool:
    """Whoever stole a refresh token and who holds it both go on with it: nothing of it opens anything any more."""
    first = scene.program.tokens()
    second = scene.program.refresh(first["refresh_token"]).json()
    third = scene.program.refresh(second["refresh_token"]).json()
    refused = _refused(scene.program.refresh(first["refresh_token"]))
    return refused and scene.stopped(*(pair["access_token"] for pair in (first, second, third)))


def _refreshed_by_another(scene: LetInScene) -> bool:
    token = scene.program.tokens()["refresh_token"]
    return _refused(scene.program.refresh(token, client_id=scene.thief.client.client_id))


def _refreshed_for_another_tenant(scene: LetInScene) -> bool:
    token = scene.program.tokens()["refresh_token"]
    return _refused(scene.program.refresh(token, resource=resource(scene.cast.beta.slug)))


def _refreshed_for_more(scene: LetInScene) -> bool:
    scene.cast.scopes(scene.cast.acme, {"a.all": "Everything"})
    token = scene.program.tokens()["refresh_token"]
    return _refused(scene.program.refresh(token, scope="a.read a.write a.all"))


def _redeemed_twice(scene: LetInScene) -> bool:
    """A code that was caught on its way: whoever comes second gets nothing, and what the first got is over."""
    code = scene.program.code()
    tokens = scene.program.redeem(code).json()
    return _refused(scene.program.redeem(code)) and scene.stopped(tokens["access_token"])


def _redeemed_with(**changed: Any) -> Callable[[LetInScene], bool]:
    def act(scene: LetInScene) -> bool:
        return _refused(scene.program.redeem(scene.program.code(), **changed))

    return act


def _redeemed_by_another(scene: LetInScene) -> bool:
    return _refused(scene.program.redeem(scene.program.code(), client_id=scene.thief.client.client_id))


def _redeemed_for_another_tenant(scene: LetInScene) -> bool:
    return _refused(scene.program.redeem(scene.program.code(), resource=resource(scene.cast.beta.slug)))


def _of_another_sort(scene: LetInScene) -> bool:
    """What is not for the endpoint: the code, and the refresh token."""
    return scene.stopped(scene.program.code(), scene.program.tokens()["refresh_token"])


def _made_up(scene: LetInScene) -> bool:
    real = scene.program.tokens()["access_token"]
    claims = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2FjbWUuZXhhbXBsZSIsInN1YiI6InVtYSJ9."
    return scene.stopped(TOKEN_PREFIX + secrets.token_urlsafe(32), real[:-1], real + "A", real.swapcase(), claims)


def _in_the_address(scene: LetInScene) -> bool:
    """Where logs would keep it."""
    token = scene.program.tokens()["access_token"]
    usual = scene.at("")
    slug = f"{scene.cast.acme.slug}/mcp?access_token={token}&then="
    answer = usual.by(replace(usual.host, key=None, slug=slug)).call()
    return answer.status == 400 and not scene.lines


ATTACKS: Final[Mapping[str, Callable[[LetInScene], bool]]] = {
    "a token at another tenant of the same person": _at_another_tenant,
    "a token after its consent was revoked": _after_the_consent,
    "a token after its time": _after_its_time,
    "a token after the time of its consent": _after_the_consents_time,
    "a token that was given back": _given_back("access_token"),
    "a token whose refresh token was given back": _given_back("refresh_token"),
    "a token of a client that the hub switched off": _of_a_client_that_was(
        lambda scene: disable_client(scene.program.client, actor="system")
    ),
    "a token of a client that the tenant blocked": _of_a_client_that_was(
        lambda scene: block_client(scene.cast.acme, scene.program.client, actor="system")
    ),
    "a token of somebody who left": _of_who_left,
    "a refresh token used by two": _refreshed_twice,
    "a refresh token used by another client": _refreshed_by_another,
    "a refresh token used for another tenant": _refreshed_for_another_tenant,
    "a refresh token used for more": _refreshed_for_more,
    "a code redeemed twice": _redeemed_twice,
    "a code redeemed with another verifier": _redeemed_with(code_verifier=secrets.token_urlsafe(48)),
    "a code redeemed without its verifier": _redeemed_with(code_verifier=None),
    "a code redeemed from another address": _redeemed_with(redirect_uri="http://127.0.0.1/elsewhere"),
    "a code redeemed by another client": _redeemed_by_another,
    "a code redeemed for another tenant": _redeemed_for_another_tenant,
    "a code and a refresh token instead of a token": _of_another_sort,
    "tokens that were made up or changed": _made_up,
    "a token in the address": _in_the_address,
}


def _with_a_token(scene: LetInScene) -> bool:
    token = scene.program.tokens()["access_token"]
    return not (scene.runs(token) and scene.runs(token, worker=1))


def _with_a_refreshed_one(scene: LetInScene) -> bool:
    fresh = scene.program.refresh(scene.program.tokens()["refresh_token"]).json()
    return not scene.runs(fresh["access_token"])


def _with_a_lost_answer(scene: LetInScene) -> bool:
    """A program that did not get the answer asks once more, at once."""
    token = scene.program.tokens()["refresh_token"]
    first, again = scene.program.refresh(token).json(), scene.program.refresh(token).json()
    return not (first["access_token"] == again["access_token"] and scene.runs(again["access_token"], worker=1))


def _with_less(scene: LetInScene) -> bool:
    narrow = scene.program.refresh(scene.program.tokens()["refresh_token"], scope="a.read").json()
    return not scene.runs(narrow["access_token"])


def _beside_one_that_was_revoked(scene: LetInScene) -> bool:
    token, thief = scene.program.tokens()["access_token"], scene.thief
    thief.tokens()
    with scene.cast.see(scene.cast.acme):
        revoke_consent(thief.consent, actor="system")
    return not scene.runs(token)


def _shortly_before_its_end(scene: LetInScene) -> bool:
    token = scene.program.tokens()["access_token"]
    with scene.cast.see(scene.cast.acme):
        soon = timezone.now() + datetime.timedelta(minutes=1)
        AccessToken.objects.filter(pk=scene.program.opened(token).pk).update(expires=soon)
    return not scene.runs(token)


HARMLESS: Final[Mapping[str, Callable[[LetInScene], bool]]] = {
    "a token at its tenant, on two workers": _with_a_token,
    "a refreshed token": _with_a_refreshed_one,
    "a refresh whose answer was lost": _with_a_lost_answer,
    "a token with fewer scopes": _with_less,
    "a token beside one that was revoked": _beside_one_that_was_revoked,
    "a token shortly before its end": _shortly_before_its_end,
}
