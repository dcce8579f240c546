"""A hub that runs, furnished for programs: tenants with two tools, uma at her browser, and a look behind the scenes.

The same without a server is `asking` for her part and `grants` for the program's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from access.actions.consents import revoke_consent
from access.models import Client, Consent
from tenants.models import Tenant
from tests import tokens
from tests.access.program import Program
from tests.access.sent import REDIRECT
from tests.cast import Cast
from tests.clients.hosts import Visit
from tests.host import Host
from tests.person import Person, answer_of

READ: Final = "notes.read"
WRITE: Final = "notes.write"


@dataclass
class Desk:
    """acme and beta each have `echo`, which reads, and `shout`, which writes. uma is a user of acme at her browser."""

    cast: Cast
    base: str
    uma: Person
    owner: psycopg.Connection[tuple[object, ...]]
    leave: ExitStack
    """Closes what was opened here."""

    @property
    def url(self) -> str:
        return self.resource(self.cast.acme)

    def resource(self, tenant: Tenant) -> str:
        return f"{self.base}/t/{tenant.slug}/mcp"

    def only(self, *scopes: str) -> Visit:
        """A person who leaves just these ticked the first time, and says yes to whatever is asked afterwards."""
        visits = iter([scopes])
        return lambda url: self.uma.visit(url, scopes=next(visits, None))

    def client(self, *redirect_uris: str, **fields: Any) -> Client:
        """A public program that an admin of the hub registered."""
        return tokens.client(name="Notes program", redirect_uris=" ".join(redirect_uris or [REDIRECT]), **fields)

    def program(self, *redirect_uris: str) -> Program:
        client = self.client(*redirect_uris)
        return self.leave.enter_context(Program(self.base, client.client_id, client.redirect_uris.split()[0]))

    def registered(self, **metadata: Any) -> Program:
        """One that registered itself."""
        return self.leave.enter_context(Program.registered(self.base, **metadata))

    def tokens(self, program: Program, scope: str | None = None, *, span: str | None = None) -> dict[str, str]:
        """What the token endpoint gives once uma has said yes at acme."""
        asked = program.ask(self.cast.acme.slug, scope)
        response = program.redeem(asked, answer_of(self.uma.visit(asked.url, span=span))["code"])
        assert response.status_code == 200, response.text
        answer: dict[str, str] = response.json()
        return answer

    def host(self, secret: str | None, tenant: Tenant | None = None) -> Host:
        return Host(self.base, (tenant or self.cast.acme).slug, secret)

    def opens(self, secret: str) -> bool:
        """Whether it is let in at acme's endpoint."""
        return self.host(secret).request("tools/list").status == 200

    def consents(self) -> list[Consent]:
        with self.cast.see(self.cast.acme):
            return list(Consent.objects.select_related("client").filter(revoked_at=None))

    def revoke(self) -> None:
        (consent,) = self.consents()
        with self.cast.see(self.cast.acme):
            revoke_consent(consent, actor=self.cast.uma.username)

    def expire_access_tokens(self) -> None:
        """An hour passes for the tokens of acme; only the owner of the tables may turn their clock."""
        self.owner.execute(
            "UPDATE access_accesstoken SET expires = now() - interval '1 second' WHERE tenant_id = %s",
            [self.cast.acme.pk],
        )


@contextmanager
def furnished(base: str, cast: Cast) -> Iterator[Desk]:
    for tenant in (cast.acme, cast.beta):
        cast.scopes(tenant, {READ: "Read notes", WRITE: "Write notes"})
        cast.tool(tenant, "echo", scopes=[READ])
        cast.tool(tenant, "shout", scopes=[WRITE], read_only=False)
    with (
        Person(base, cast.uma.username, cast.password) as uma,
        psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner,
        ExitStack() as leave,
    ):
        # All tests come from one address; what one of them used up is not another's.
        owner.execute("DELETE FROM access_bucket")
        yield Desk(cast, base, uma, owner, leave)
