"""A change counts from the next request on, on every worker, also on connections that were open before."""

import datetime
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from django.utils import timezone

from access.actions import revoke_key
from access.models import AccessToken, Admission, APIKey, Client, Consent
from policy.models import Limit, Per
from tenants.models import Member, Scope, Tenant, User
from tests import tokens
from tests.cast import Cast
from tests.host import MODERN, Answer, Host
from tests.serving import Handler, served
from tools import actions as tool_actions
from tools.models import Connection, Tool


@dataclass
class Workers:
    """One key on both workers, each over a connection that stays open."""

    hosts: list[Host]
    clients: list[httpx2.Client] = field(default_factory=list)

    def request(self, method: str, params: dict[str, Any] | None = None) -> list[Answer]:
        """What each worker answers to the same request, asked one after the other."""
        return [
            self._ask(host, client, method, params or {}) for host, client in zip(self.hosts, self.clients, strict=True)
        ]

    def call(self, name: str = "echo", arguments: dict[str, Any] | None = None) -> list[Answer]:
        return self.request(
            "tools/call", {"name": name, "arguments": {"text": "x"} if arguments is None else arguments}
        )

    def statuses(self) -> list[int]:
        return [answer.status for answer in self.call()]

    def tools(self) -> list[list[str]]:
        return [[tool["name"] for tool in answer.result["tools"]] for answer in self.request("tools/list")]

    @staticmethod
    def _ask(host: Host, client: httpx2.Client, method: str, params: dict[str, Any]) -> Answer:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": host._params(params)}
        headers = host.headers() | {k.replace("_", "-"): v for k, v in host._routing(method, params).items()}
        return Answer(client.post(host.url, json=message, headers=headers))


@pytest.fixture
def key(cast: Cast) -> tuple[APIKey, str]:
    cast.scopes(cast.acme, {"tickets.read": "Read", "tickets.write": "Write"})
    cast.tool(cast.acme, "echo", scopes=["tickets.read"])
    return cast.key(cast.uma)


@pytest.fixture
def workers(hub: list[str], cast: Cast, key: tuple[APIKey, str]) -> Iterator[Workers]:
    """Both workers, after each has served the key once and so holds whatever it would keep."""
    with connected(hub, cast, key[1]) as made:
        yield made


@contextmanager
def connected(hub: list[str], cast: Cast, secret: str) -> Iterator[Workers]:
    assert len(set(hub)) == 2
    limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1)
    made = Workers([Host(base, cast.acme.slug, secret, MODERN) for base in hub])
    made.clients = [httpx2.Client(limits=limits, timeout=30) for _ in hub]
    assert made.statuses() == [200, 200]
    assert made.tools() == [["echo"], ["echo"]]
    yield made
    for client in made.clients:
        client.close()


def refused(answers: list[Answer]) -> None:
    for answer in answers:
        assert answer.status == 401
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_the_workers_are_two_processes_and_their_connections_stay_open(workers: Workers) -> None:
    for client in workers.clients:
        pool = client._transport._pool  # type: ignore[attr-defined]
        assert [connection.is_idle() for connection in pool.connections] == [True]
    assert len({host.base for host in workers.hosts}) == 2


def test_a_revoked_key_is_refused(cast: Cast, workers: Workers, key: tuple[APIKey, str]) -> None:
    with cast.see(cast.acme):
        revoke_key(key[0], actor="system")
    refused(workers.call())


def test_a_key_is_refused_once_it_has_expired(cast: Cast, workers: Workers, key: tuple[APIKey, str]) -> None:
    with cast.see(cast.acme):
        APIKey.objects.filter(pk=key[0].pk).update(expires_at=timezone.now() + datetime.timedelta(hours=1))
    assert workers.statuses() == [200, 200]
    with cast.see(cast.acme):
        APIKey.objects.filter(pk=key[0].pk).update(expires_at=timezone.now())
    refused(workers.call())


def test_a_removed_member_is_refused(cast: Cast, workers: Workers) -> None:
    with cast.see(cast.acme):
        cast.acme.members.get(user=cast.uma).delete()
    refused(workers.call())


def test_an_inactive_member_is_refused_and_let_in_again(cast: Cast, workers: Workers) -> None:
    for active, statuses in ((False, [401, 401]), (True, [200, 200])):
        with cast.see(cast.acme):
            Member.objects.filter(tenant=cast.acme, user=cast.uma).update(active=active)
        assert workers.statuses() == statuses


def test_an_inactive_user_is_refused(cast: Cast, workers: Workers) -> None:
    User.objects.filter(pk=cast.uma.pk).update(is_active=False)
    refused(workers.call())


TAKEN: dict[str, Callable[[Cast, Consent], object]] = {
    "the consent is revoked": lambda cast, consent: Consent.objects.update(revoked_at=timezone.now()),
    "the consent has run out": lambda cast, consent: Consent.objects.update(until=timezone.now()),
    "the tokens are revoked": lambda cast, consent: AccessToken.objects.filter(consent_id=consent.pk).delete(),
    "the token has expired": lambda cast, consent: AccessToken.objects.update(expires=timezone.now()),
    "the client is blocked": lambda cast, consent: Client.objects.filter(pk=consent.client_id).update(
        blocked_at=timezone.now()
    ),
    "the client is blocked here": lambda cast, consent: Admission.objects.create(
        tenant=cast.acme, client=consent.client, state=Admission.State.BLOCKED
    ),
    "the member is inactive": lambda cast, consent: Member.objects.filter(user=cast.uma).update(active=False),
    "the member is removed": lambda cast, consent: Member.objects.get(user=cast.uma).delete(),
    "the user is inactive": lambda cast, consent: User.objects.filter(pk=cast.uma.pk).update(is_active=False),
}


@pytest.mark.parametrize("taken", TAKEN)
def test_a_token_is_refused_as_soon_as(cast: Cast, hub: list[str], taken: str) -> None:
    cast.scopes(cast.acme, {"tickets.read": "Read"})
    cast.tool(cast.acme, "echo", scopes=["tickets.read"])
    consent, secret = tokens.granted(cast, cast.uma, scopes="tickets.read")
    with connected(hub, cast, secret) as workers:
        with cast.see(cast.acme):
            TAKEN[taken](cast, consent)
        refused(workers.call())


def test_another_token_of_the_same_member_stays(cast: Cast, hub: list[str]) -> None:
    cast.tool(cast.acme, "echo")
    first, _ = tokens.granted(cast, cast.uma)
    _, secret = tokens.granted(cast, cast.uma)
    with connected(hub, cast, secret) as workers:
        with cast.see(cast.acme):
            Consent.objects.filter(pk=first.pk).update(revoked_at=timezone.now())
            Client.objects.filter(pk=first.client_id).update(blocked_at=timezone.now())
        assert workers.statuses() == [200, 200]


def test_a_disabled_tenant_is_unknown(cast: Cast, workers: Workers) -> None:
    for enabled, statuses in ((False, [404, 404]), (True, [200, 200])):
        with cast.see(cast.acme):
            Tenant.objects.filter(pk=cast.acme.pk).update(enabled=enabled)
        assert workers.statuses() == statuses


def test_a_disabled_tool_is_gone(cast: Cast, workers: Workers) -> None:
    with cast.see(cast.acme):
        tool = cast.acme.tools.get(name="echo")
        tool_actions.set_enabled(tool, False, actor=cast.staff)
    assert [answer.error["code"] for answer in workers.call()] == [-32602, -32602]
    assert workers.tools() == [[], []]
    with cast.see(cast.acme):
        tool_actions.set_enabled(tool, True, actor=cast.staff)
    assert workers.statuses() == [200, 200]


def test_a_published_version_and_its_way_back_are_seen(cast: Cast, workers: Workers) -> None:
    def described() -> list[str]:
        return [answer.result["tools"][0]["description"] for answer in workers.request("tools/list")]

    def called() -> list[str]:
        return [answer.text for answer in workers.call()]

    with cast.see(cast.acme):
        tool = cast.acme.tools.get(name="echo")
        before = tool.live
        assert before is not None
        tool.description = "Shouts now. Use it in tests; changes nothing."
        tool.config, tool.output_schema = {"function": "shout"}, None
        tool.save()
    assert called() == ['{"text":"x"}'] * 2, "a draft is not live"
    with cast.see(cast.acme):
        tool_actions.publish(tool, actor=cast.staff)
    assert called() == ["X", "X"]
    assert described() == ["Shouts now. Use it in tests; changes nothing."] * 2
    with cast.see(cast.acme):
        tool_actions.roll_back(tool, before, actor=cast.staff)
    assert called() == ['{"text":"x"}'] * 2
    assert described() == [before.description] * 2


def test_a_scope_taken_from_a_role_is_gone(cast: Cast, workers: Workers) -> None:
    with cast.see(cast.acme):
        Scope.objects.filter(tenant=cast.acme, name="tickets.read").update(roles=["owner"])
    assert [answer.error["code"] for answer in workers.call()] == [-32602, -32602]
    assert workers.tools() == [[], []]


def test_a_changed_role_counts(cast: Cast, workers: Workers) -> None:
    with cast.see(cast.acme):
        Scope.objects.filter(tenant=cast.acme, name="tickets.read").update(roles=["owner", "admin"])
        Member.objects.filter(tenant=cast.acme, user=cast.uma).update(role="admin")
    assert workers.statuses() == [200, 200]
    with cast.see(cast.acme):
        Member.objects.filter(tenant=cast.acme, user=cast.uma).update(role="user")
    assert [answer.error["code"] for answer in workers.call()] == [-32602, -32602]


def test_what_a_scope_implies_counts_at_once(cast: Cast, workers: Workers, key: tuple[APIKey, str]) -> None:
    with cast.see(cast.acme):
        APIKey.objects.filter(pk=key[0].pk).update(scopes=["tickets.write"])
    assert workers.statuses() == [403, 403]
    with cast.see(cast.acme):
        Scope.objects.filter(tenant=cast.acme, name="tickets.write").update(implies=["tickets.read"])
    assert workers.statuses() == [200, 200]


def test_instructions_and_name_are_seen(cast: Cast, workers: Workers) -> None:
    with cast.see(cast.acme):
        Tenant.objects.filter(pk=cast.acme.pk).update(name="Renamed", instructions="New words.")
    for answer in workers.request("server/discover"):
        assert answer.result["instructions"] == "New words."
        assert answer.result["_meta"]["io.modelcontextprotocol/serverInfo"]["title"] == "Renamed"


@pytest.fixture
def upstreams() -> Iterator[list[str]]:
    """Two services that answer with which one they are."""
    with served(_named("first")) as first, served(_named("second")) as second:
        yield [first, second]


def _named(name: str) -> type[Handler]:
    class Named(Handler):
        def do_GET(self) -> None:
            self.give(json.dumps({"name": name, "key": self.headers.get("authorization")}).encode())

    return Named


def test_a_changed_connection_is_used(cast: Cast, workers: Workers, upstreams: list[str]) -> None:
    fields: dict[str, Any] = {"base_url": upstreams[0], "auth": "bearer", "allow_hosts": ["127.0.0.1"]}
    with cast.see(cast.acme):
        connection = Connection.objects.create(tenant=cast.acme, name="service", **fields)
        tool_actions.set_secret(connection, "old", actor=cast.staff)
    config = {"method": "GET", "path": "/name"}
    fields = {"config": config, "connection": connection, "input_schema": {"type": "object"}}
    tool = cast.tool(cast.acme, "name", kind="http", **fields)

    def said() -> list[Any]:
        return [json.loads(answer.text) for answer in workers.call("name", {})]

    assert said() == [{"name": "first", "key": "Bearer old"}] * 2
    with cast.see(cast.acme):
        tool_actions.set_secret(connection, "new", actor=cast.staff)
    assert said() == [{"name": "first", "key": "Bearer new"}] * 2
    with cast.see(cast.acme):
        Connection.objects.filter(pk=connection.pk).update(base_url=upstreams[1])
    assert [answer.error["code"] for answer in workers.call("name", {})] == [-32602] * 2, "it leads elsewhere"
    with cast.see(cast.acme):
        tool_actions.publish(Tool.objects.get(pk=tool.pk), actor=cast.staff)
    assert said() == [{"name": "second", "key": "Bearer new"}] * 2


def test_a_new_limit_counts(cast: Cast, workers: Workers) -> None:
    with cast.see(cast.acme):
        Limit.objects.create(tenant=cast.acme, per=Per.CREDENTIAL, most=1, seconds=3600)
    assert [answer.result["isError"] for answer in workers.call()] == [False, True]
