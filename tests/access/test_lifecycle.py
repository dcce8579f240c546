"""No sequence of asking, redeeming, refreshing, replaying and revoking leaves a token alive that the rules would not.

`rules.Model` says which must be alive; after every step the hub's door is asked about every secret that was ever handed
out. Time passes by moving every date of the tenant back.
"""

from __future__ import annotations

import asyncio
import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Final

import httpx2
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg import sql

from access.actions.clients import block_client
from access.actions.consents import revoke_consent
from access.admit import admit
from access.models import AccessToken, Client, Consent, digest_of
from lib import db
from tenants import actions as tenant_actions
from tenants.models import Tenant
from tests.access.desk import Desk, furnished
from tests.access.program import Program
from tests.access.rules import BOTH, CODE, FOREVER, GRACE, HOUR, READ, Access, Code, Family, Model, Refresh, Yes
from tests.cast import Cast
from tests.person import answer_of

# Sums of these stay well away from every bound in the rules, so that the seconds the test itself takes do not matter.
PASSES: Final = st.sampled_from([25.0, 25.0, 100.0, 4000.0])
CLIENTS: Final = st.sampled_from([0, 1])
ASKED: Final = st.sampled_from([BOTH, READ])
SPANS: Final = st.sampled_from(["forever", "hour"])
WHERE: Final = st.sampled_from(["same", "unsaid", "elsewhere"])
THEN: Final = st.sampled_from(["done", "later", "lost", "replayed"])
Given = Refresh | MultipleResults[Refresh]


class Lifecycle(RuleBasedStateMachine):
    """One member, two programs. `stage` is shared by all runs: only the programs are new in each."""

    stage: ClassVar[Stage]
    codes = Bundle("codes")
    refreshes = Bundle("refreshes")

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        desk = self.stage.desk
        self.clients = [desk.client(), desk.client()]
        self.programs = [Program(desk.base, client.client_id) for client in self.clients]

    def teardown(self) -> None:
        if not self.model.active:
            self.stage.set_active(True)
        for program in self.programs:
            program.http.close()

    @initialize(target=refreshes)
    def both_are_let_in(self) -> MultipleResults[Refresh]:
        given = [self._grant(client, BOTH, BOTH, "forever") for client in (0, 1)]
        return multiple(*(one for one in given if isinstance(one, Refresh)))

    @rule(target=refreshes, client=CLIENTS, asked=ASKED, all_of_it=st.booleans(), span=SPANS)
    def grant(self, client: int, asked: frozenset[str], all_of_it: bool, span: str) -> Given:
        """The whole way, as it usually goes."""
        return self._grant(client, asked, asked if all_of_it else READ, span)

    @rule(target=codes, client=CLIENTS, asked=ASKED, all_of_it=st.booleans(), span=SPANS)
    def authorize(self, client: int, asked: frozenset[str], all_of_it: bool, span: str) -> Code:
        return self._authorize(client, asked, asked if all_of_it else READ, span)

    @rule(target=refreshes, code=codes, where=WHERE)
    def redeem(self, code: Code, where: str) -> Given:
        return self._redeem(code, where)

    @rule(target=refreshes, token=refreshes, narrow=st.booleans(), times=st.integers(1, 3), then=THEN)
    def refresh_by_the_newest(self, token: Refresh, narrow: bool, times: int, then: str) -> Given:
        """The usual way on; then the last answer is lost, or a copy of the first token turns up, or the grace ends."""
        while token.successor is not None:
            token = token.successor
        first, last = token, token
        given: Given = multiple()
        for time in range(times):
            last, given = token, self._refresh(token, narrow and time == 0, "same")
            token = token.successor or token
        if then == "later":
            self._pass(100.0)
        if then in {"done", "later"}:
            return given
        return self._refresh(last if then == "lost" else first, narrow, "unsaid")

    @rule(target=refreshes, token=refreshes, narrow=st.booleans(), where=WHERE)
    def refresh_by_any(self, token: Refresh, narrow: bool, where: str) -> Given:
        return self._refresh(token, narrow, where)

    @rule(token=refreshes)
    def another_program_presents_it(self, token: Refresh) -> None:
        other = self.programs[1 - token.family.yes.client]
        assert other.refresh(token.secret or "nothing").status_code in {400, 401}

    @rule(token=refreshes, which=st.sampled_from(["refresh", "access"]))
    def revoke_a_token(self, token: Refresh, which: str) -> None:
        """Its program gives it back (RFC 7009); the answer is the same for one that is nothing any more."""
        program = self.programs[token.family.yes.client]
        secret = token.secret if which == "refresh" else token.access.secret
        known = (which == "refresh" and bool(secret)) or self.stage.kept(secret)
        response = program.revoke(secret or "nothing")
        assert response.status_code == 200, response.text
        token.family.gone = token.family.gone or known

    @rule(client=CLIENTS)
    def revoke_the_consent(self, client: int) -> None:
        yes = self.model.yeses.get(client)
        if yes is not None and not yes.gone:
            self.stage.revoke_consent(self.clients[client])
            yes.gone = True

    @precondition(lambda self: len(self.model.tokens) > 5)
    @rule(client=CLIENTS)
    def block(self, client: int) -> None:
        """An admin's decision takes the consents back with it, for good."""
        if client not in self.model.blocked:
            self.stage.block(self.clients[client])
            self.model.blocked.add(client)
            if client in self.model.yeses:
                self.model.yeses[client].gone = True

    @precondition(lambda self: self.model.active and len(self.model.tokens) > 3)
    @rule()
    def deactivate_the_member(self) -> None:
        self._set_active(False)

    @precondition(lambda self: not self.model.active)
    @rule()
    def bring_the_member_back(self) -> None:
        self._set_active(True)

    @rule(seconds=PASSES)
    def time_passes(self, seconds: float) -> None:
        self._pass(seconds)

    @invariant()
    def only_what_must_be_live_opens_the_door(self) -> None:
        secrets = [token.secret for token in self.model.tokens]
        never = [code.secret for code in self.model.codes] + [token.secret for token in self.model.refreshes]
        opened = self.stage.opens([*secrets, *never])
        expected = [token.scopes if self.model.live(token) else None for token in self.model.tokens]
        assert opened == expected + [None] * len(never)

    def _pass(self, seconds: float) -> None:
        self.stage.pass_time(seconds)
        self.model.ahead += seconds

    def _set_active(self, active: bool) -> None:
        self.model.active = active
        self.stage.set_active(active)

    def _grant(self, client: int, asked: frozenset[str], ticked: frozenset[str], span: str) -> Given:
        return self._redeem(self._authorize(client, asked, ticked, span), "same")

    def _authorize(self, client: int, asked: frozenset[str], ticked: frozenset[str], span: str) -> Code:
        model = self.model
        request = self.programs[client].ask(self.stage.tenant.slug, " ".join(sorted(asked)))
        until = model.now + HOUR if span == "hour" else FOREVER
        if not model.active or client in model.blocked:
            self.stage.refused(request.url)
            code = Code("", request, Family(Yes(client, READ, 0.0), READ), expires=0.0, until=0.0)
        else:
            secret = answer_of(self.stage.desk.uma.visit(request.url, scopes=ticked, span=span))["code"]
            family = Family(model.say_yes(client, asked, ticked, until), ticked)
            code = Code(secret, request, family, expires=model.now + CODE, until=until)
        model.families.append(code.family)
        model.codes.append(code)
        return code

    def _redeem(self, code: Code, where: str) -> Given:
        redeemable = self.model.redeemable(code)
        program = self.programs[code.family.yes.client]
        response = program.redeem(code.asked, code.secret, resource=self.stage.resource(where))
        if code.spent:
            code.family.gone = True
        code.spent = True  # presented once, right or wrong
        if not redeemable or where == "elsewhere":
            assert response.status_code in {400, 401}, response.text
            return multiple()
        return self._received(response, code.family, code.family.scopes, code.until)

    def _refresh(self, token: Refresh, narrow: bool, where: str) -> Given:
        model, family = self.model, token.family
        holds, grace, used = model.holds(family), model.in_grace(token), token.superseded is not None
        response = self.programs[family.yes.client].refresh(
            token.secret, scope=" ".join(READ) if narrow else None, resource=self.stage.resource(where)
        )
        if not token.secret or not holds or where == "elsewhere" or model.now >= token.until:
            assert response.status_code in {400, 401}, response.text
            return multiple()
        if used and not grace:
            assert response.status_code == 400, response.text
            family.gone = True
            return multiple()
        if used:
            return self._same_again(token, response)
        token.superseded = model.now
        token.access.expires = min(token.access.expires, model.now + GRACE)
        scopes = READ & family.scopes if narrow else family.scopes
        token.successor = self._received(response, family, scopes, token.until)
        return token.successor

    def _received(self, response: httpx2.Response, family: Family, scopes: frozenset[str], until: float) -> Refresh:
        assert response.status_code == 200, response.text
        answer, until = response.json(), min(until, family.yes.until)
        assert frozenset(answer["scope"].split()) == scopes
        access = Access(answer["access_token"], family, scopes, min(self.model.now + HOUR, until))
        self.model.tokens.append(access)
        token = Refresh(answer.get("refresh_token", ""), family, access, until)
        assert token.secret or until < FOREVER, "only an hour's consent may go without a refresh token"
        self.model.refreshes.append(token)
        return token

    def _same_again(self, token: Refresh, response: httpx2.Response) -> Refresh:
        after, answer = token.successor, response.json()
        assert after is not None
        assert response.status_code == 200, answer
        assert (answer["refresh_token"], answer["access_token"]) == (after.secret, after.access.secret)
        assert frozenset(answer["scope"].split()) == after.access.scopes
        return after


@dataclass
class Stage:
    """The desk, the door, and the hands that reach behind the scenes."""

    desk: Desk
    loop: asyncio.Runner

    @property
    def tenant(self) -> Tenant:
        return self.desk.cast.acme

    def resource(self, where: str) -> str | None:
        there = self.desk.resource(self.desk.cast.beta)
        return {"same": self.desk.url, "unsaid": None, "elsewhere": there}[where]

    def refused(self, url: str) -> None:
        """Nothing comes of it: no code, wherever the person is led."""
        page = self.desk.uma.open(url)
        assert "code" not in (answer_of(page.headers["location"]) if page.is_redirect else {})

    def opens(self, secrets: list[str]) -> list[frozenset[str] | None]:
        """The scopes that each of them gives at the tenant's door; None for one that does not open it."""

        async def ask() -> list[frozenset[str] | None]:
            doors = await asyncio.gather(*(admit(self.tenant.slug, secret, address="") for secret in secrets))
            return [door.caller.scopes if door and door.caller else None for door in doors]

        return self.loop.run(ask())

    def revoke_consent(self, client: Client) -> None:
        with self.desk.cast.see(self.tenant):
            revoke_consent(Consent.objects.get(client=client, revoked_at=None), actor="system")

    def block(self, client: Client) -> None:
        with self.desk.cast.see(self.tenant):
            block_client(self.tenant, client, actor=self.desk.cast.olga.username)

    def set_active(self, active: bool) -> None:
        with self.desk.cast.see(self.tenant):
            member = self.desk.cast.member(self.tenant, self.desk.cast.uma)
            member.active = active
            tenant_actions.change_member(member, actor="system")

    def kept(self, secret: str) -> bool:
        """Whether the row of an access token is still there."""
        with self.desk.cast.see(self.tenant):
            return AccessToken.objects.filter(token_checksum=digest_of(secret)).exists()

    def pass_time(self, seconds: float) -> None:
        """Move every date of this tenant's codes, tokens and consents back. Only the owner may."""
        by, tenant = datetime.timedelta(seconds=seconds), self.tenant.pk
        for table, columns in DATES.items():
            moved = sql.SQL(", ").join(sql.SQL("{0} = {0} - {1}").format(sql.Identifier(one), by) for one in columns)
            update = sql.SQL("UPDATE {} SET {} WHERE tenant_id = {}").format(sql.Identifier(table), moved, tenant)
            self.desk.owner.execute(update)


DATES: Final = {
    "access_consent": ["given_at", "until"],
    "access_grant": ["expires", "used_at", "until", "created"],
    "access_accesstoken": ["expires", "until", "created"],
    "access_refreshtoken": ["revoked", "until", "created"],
}


@contextmanager
def staged(desk: Desk) -> Iterator[Stage]:
    with asyncio.Runner() as loop:
        pool = db.open_pool(size=1)
        loop.run(pool.__aenter__())
        try:
            yield Stage(desk, loop)
        finally:
            loop.run(pool.__aexit__(None, None, None))


def test_no_sequence_leaves_a_token_alive_that_the_rules_would_not(hub: list[str], cast: Cast) -> None:
    with furnished(hub[0], cast) as desk, staged(desk) as stage:
        Lifecycle.stage = stage
        run_state_machine_as_test(
            Lifecycle,
            settings=settings(
                max_examples=20,
                stateful_step_count=25,
                deadline=None,
                derandomize=bool(os.environ.get("CI")),
                suppress_health_check=list(HealthCheck),
            ),
        )
