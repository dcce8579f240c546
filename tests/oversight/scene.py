"""Something that runs of everything that can be switched off, and a hand on the switches."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from access.models import Client
from lib import db
from oversight import switches, things
from oversight.models import Switch
from oversight.things import Thing
from tenants.models import User
from tests import tokens
from tests.cast import Cast
from tests.host import MODERN, Answer, Host
from tests.postgres import as_owner, rows
from tests.waiting import until
from tools.models import Connection, Tool

SORTS = ("tool", "connection", "client", "client here", "user", "member", "tenant", "everything")
HELD = ("client", "client here", "user", "member", "tenant", "everything")
"""Those that shut callers out, not only tools."""


@dataclass
class Scene:
    """Acme, where a program acts for uma and can use `linger`, which reaches through a connection, and `echo`."""

    cast: Cast
    hub: list[str]
    client: Client = field(init=False)
    connection: Connection = field(init=False)
    linger: Tool = field(init=False)

    def __post_init__(self) -> None:
        cast = self.cast
        self.client = tokens.registered()
        consent = tokens.consent(cast, cast.uma, by=self.client)
        with cast.see(cast.acme):
            self.token = tokens.token(consent)
            self.connection = Connection.objects.create(tenant=cast.acme, name="Desk", base_url="https://desk.example")
        self.linger = cast.tool(cast.acme, "linger", connection=self.connection)
        cast.tool(cast.acme, "echo")

    def host(self, worker: int = 0, revision: str = MODERN) -> Host:
        """The program's."""
        return Host(self.hub[worker], self.cast.acme.slug, self.token, revision)

    def thing(self, sort: str) -> Thing:
        """What a word of SORTS means here. Runs in a scope."""
        acme = self.cast.acme
        named: dict[str, tuple[str, Any, Any]] = {
            "tool": ("tool", self.linger, None),
            "connection": ("connection", self.connection, None),
            "client": ("client", self.client, None),
            "client here": ("client", self.client, acme),
            "user": ("user", self.cast.uma, None),
            "member": ("user", self.cast.uma, acme),
            "tenant": ("tenant", acme, None),
            "everything": ("everything", None, None),
        }
        kind, row, tenant = named[sort]
        found = things.find(kind, "" if row is None else str(row.pk), tenant)
        assert found is not None
        return found

    def throw(self, sort: str, by: User | None = None, reason: str = "") -> Switch:
        with everywhere():
            return switches.throw(self.thing(sort), actor=by, reason=reason)

    def lift(self, switch: Switch) -> bool:
        with everywhere():
            return switches.lift(switch, actor=None)

    @contextmanager
    def thrown(self, sort: str, **how: Any) -> Iterator[Switch]:
        """Off for the block; everything must not stay so for other tests."""
        switch = self.throw(sort, **how)
        try:
            yield switch
        finally:
            self.lift(switch)


def everywhere() -> Any:
    with as_owner() as conn:
        ((found,),) = rows(conn, "SELECT oversight_tenants()")
    return db.tenant_scope(found)


@contextmanager
def under_way(host: Host, name: str, note: Path) -> Iterator[list[Answer]]:
    """A call that has begun and lingers; its answer is in the list after the block."""
    got: list[Answer] = []
    thread = threading.Thread(target=lambda: got.append(host.call(name, {"path": str(note)})))
    thread.start()
    until(note.exists)
    yield got
    thread.join(30)
    assert not thread.is_alive(), "it was not stopped"


def said(answer: Answer) -> tuple[str, str]:
    """Why a call was refused, as its host reads it: the reason and the sentence."""
    return answer.result["_meta"]["mcphub/refusal"]["reason"], answer.text
