"""What the tables of attacks share: the scene, a row, and how a row is proved."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Final, Literal, NamedTuple

import httpx2
import pytest

from access.refusals import PLATFORM
from tests.access.desk import Desk, furnished
from tests.access.program import Asked, Program
from tests.cast import Cast
from tests.documents import Documents
from tests.person import answer_of
from tests.waiting import until

FORWARDED: Final = "x-forwarded-for"
Place = Literal["acme", "beta", "hub"]
"""Whose ledger has the entry: a tenant's, or the hub's own for what belongs to no tenant."""


@dataclass(kw_only=True)
class Scene(Desk):
    """The desk, and documents that an attacker serves."""

    documents: Documents
    address: str
    """Where everything comes from, as a proxy tells it: of one address only so many refusals a minute are written."""

    def program(self, *redirect_uris: str) -> Program:
        return self._from_here(super().program(*redirect_uris))

    def registered(self, **metadata: Any) -> Program:
        return self._from_here(super().registered(**metadata))

    def _from_here(self, program: Program) -> Program:
        program.http.headers[FORWARDED] = self.address
        return program

    def code(self, program: Program) -> tuple[Asked, str]:
        """A code that uma agreed to, caught on its way."""
        asked = program.ask(self.cast.acme.slug)
        return asked, answer_of(self.uma.visit(asked.url))["code"]

    def authorize(self, program: Program, **changed: Any) -> str:
        """The error an authorization request is answered with; a page's status when nothing is sent anywhere."""
        page = self.uma.open(program.ask(self.cast.acme.slug, **changed).url)
        return answer_of(self.uma.leads_to(page))["error"] if page.is_redirect else str(page.status_code)

    def register(self, *uris: str, **metadata: Any) -> str:
        """The error a registration is answered with."""
        described = {"client_name": "Evil", "redirect_uris": uris, **metadata}
        return error_of(httpx2.post(f"{self.base}/register", json=described, headers={FORWARDED: self.address}))

    def page_for(self, client_id: str) -> httpx2.Response:
        """What uma sees when she follows a link of this client."""
        with Program(self.base, client_id) as program:
            return self.uma.open(program.ask(self.cast.acme.slug).url)

    def path(self) -> str:
        """Where this test's document lies."""
        return f"/hostile/{self.cast.acme.slug}.json"

    def reasons_since(self, entry: int, place: Place) -> list[str]:
        """Of what was refused. As the owner of the tables: nobody else reads what belongs to no tenant."""
        tenant = {"acme": self.cast.acme.pk, "beta": self.cast.beta.pk, "hub": PLATFORM}[place]
        refused = "SELECT reason FROM audit_entry WHERE id > %s AND tenant_id = %s AND event = 'access.refused'"
        return [str(row[0]) for row in self.owner.execute(refused, [entry, tenant]).fetchall()]

    def last_entry(self) -> int:
        found = self.owner.execute("SELECT coalesce(max(id), 0) FROM audit_entry").fetchone()
        assert found is not None
        return int(str(found[0]))


Does = Callable[[Scene], str]


class Attack(NamedTuple):
    """does: tries it, and gives back the error it was answered with: an OAuth error code where a program is told, the
    status where a page is shown. reason: of the entry; None where the person is asked instead, or nothing is there."""

    does: Does
    error: str
    reason: str | None
    refused_at: Place

    def fails(self, scene: Scene) -> None:
        last = scene.last_entry()
        assert self.does(scene) == self.error
        if self.reason is not None:
            until(lambda: self.reason in scene.reasons_since(last, self.refused_at))


class Table(list[Any]):
    """Attacks, in the order they are written down."""

    def row(self, line: str, *, error: str, reason: str | None, refused_at: Place = "acme") -> Callable[[Does], Does]:
        """What is decorated is the attack that this line of the table names."""

        def add(does: Does) -> Does:
            self.append(pytest.param(Attack(does, error, reason, refused_at), id=line))
            return does

        return add


@contextmanager
def set_up(base: str, cast: Cast, documents: Documents) -> Iterator[Scene]:
    address = str(IPv4Address(0x0A000000 + secrets.randbelow(1 << 24)))
    with furnished(base, cast) as desk:
        desk.uma.http.headers[FORWARDED] = address
        yield Scene(**vars(desk), documents=documents, address=address)


def error_of(response: httpx2.Response) -> str:
    """What a program is told; never a success."""
    assert response.status_code in {400, 401, 403, 429}, (response.status_code, response.text)
    return str(response.json()["error"])
