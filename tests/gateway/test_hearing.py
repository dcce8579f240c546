"""GET in the older revisions: a stream that tells when the list of tools has changed for whoever holds it open."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from psycopg import OperationalError

from access.actions import revoke_key
from access.admit import admit
from access.models import APIKey
from gateway import listen, tasks
from gateway.reply import Reply
from gateway.visit import Visit
from lib import events
from tenants.models import Member
from tests.cast import Cast
from tests.gateway.confirming import govern
from tests.gateway.conftest import Make
from tests.gateway.following import Frames, hearing, lasting, listening, session, start
from tests.gateway.strangers import bearer, url
from tests.gateway.test_refusals import hidden_from
from tests.host import MODERN, REVISIONS, Host
from tests.postgres import as_app
from tests.servers import serve
from tests.waiting import until
from tools import actions
from tools.catalog import catalog

CORE = "2025-11-25"
OLDER = REVISIONS[:-1]
CHANGED = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
STREAM = {"accept": "text/event-stream"}
WAITS = 2


@pytest.mark.parametrize("revision", OLDER)
def test_a_tool_that_comes_and_goes_is_told_on_another_worker(cast: Cast, host: Make, revision: str) -> None:
    cast.tool(cast.acme, "echo")
    with hearing(host(worker=1, revision=revision)) as frames:
        shout = cast.tool(cast.acme, "shout")
        assert frames.next() == CHANGED
        with cast.see(cast.acme):
            actions.set_enabled(shout, False, actor=cast.staff)
        assert frames.next() == CHANGED
        assert nothing_more(cast, frames), "and who has just initialized was told of nothing that was before"


def nothing_more(cast: Cast, frames: Frames) -> bool:
    """Whether the stream ends, with its credential, without another word."""
    with cast.see(cast.acme):
        for key in APIKey.objects.filter(tenant=cast.acme, revoked_at=None):
            revoke_key(key, actor="system")
    wake(cast)
    return frames.ended()


def test_who_sends_no_version_is_of_the_first_revision(cast: Cast, host: Make) -> None:
    """What only a later revision shows, how a tool can be called as a task, is no change for it."""
    echo = lasting(cast)
    first, later = host(revision=OLDER[0]), host(revision=CORE)
    with unversioned(first) as frames, hearing(later) as others:
        with cast.see(cast.acme):
            echo.task_required = True
            echo.save()
            actions.publish(echo, actor=cast.staff)
        assert others.next() == CHANGED
        cast.tool(cast.acme, "shout")
        assert others.next() == CHANGED
        assert frames.next() == CHANGED
        assert nothing_more(cast, frames)


@contextlib.contextmanager
def unversioned(host: Host) -> Iterator[Frames]:
    """The stream of a host that tells its revision by its session alone."""
    given = session(host)
    sent = {name: value for name, value in host.headers().items() if name != "mcp-protocol-version"}
    bare = Host(host.base, host.slug, host.key, host.revision)
    bare.headers = lambda: sent  # type: ignore[method-assign]
    with hearing(bare, mcp_session_id=given) as frames:
        yield frames


def test_rules_and_roles_that_change_what_is_shown_are_told(cast: Cast, host: Make) -> None:
    cast.scopes(cast.acme, {"ops": "Operate"})
    cast.change_scope(cast.acme, "ops", roles=["owner", "admin"])
    cast.tool(cast.acme, "echo", scopes=["ops"])
    cast.tool(cast.acme, "shout")
    with hearing(host(worker=1, revision=CORE)) as frames:
        govern(cast, hidden_from("user", "shout"))
        assert frames.next() == CHANGED
        with cast.see(cast.acme):
            Member.objects.filter(tenant=cast.acme, user=cast.uma).update(role="admin")
        cast.change_scope(cast.acme, "ops", description="wakes the stream")
        assert frames.next() == CHANGED
        cast.change_scope(cast.acme, "ops", roles=["owner"])
        assert frames.next() == CHANGED
        assert nothing_more(cast, frames)


def test_what_changes_nothing_for_its_reader_is_not_told(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "echo")
    govern(cast, hidden_from("user", "shout"))
    with hearing(host(revision=CORE)) as frames, hearing(host(cast.adam, revision=CORE)) as others:
        cast.tool(cast.beta, "echo")
        cast.tool(cast.acme, "shout")
        assert others.next() == CHANGED
        cast.tool(cast.acme, "count_slowly")
        assert others.next() == CHANGED
        assert frames.next() == CHANGED
        assert nothing_more(cast, frames)


def test_a_stream_ends_with_its_credential_and_tells_nothing_more(cast: Cast, host: Make) -> None:
    key, secret = cast.key(cast.uma)
    with hearing(Host(host().base, cast.acme.slug, secret, CORE)) as frames:
        with cast.see(cast.acme):
            revoke_key(key, actor="system")
        cast.tool(cast.acme, "echo")
        assert frames.ended()


def test_a_stream_outlives_a_listener_that_lost_its_session(cast: Cast, host: Make) -> None:
    with hearing(host(revision=CORE)) as frames:
        with as_app() as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'mcphub events' AND datname = current_database()"
            )
        cast.tool(cast.acme, "echo")
        assert frames.next() == CHANGED


# A stream that is opened again


def test_who_opens_it_again_is_told_once_as_nobody_knows_what_they_missed(cast: Cast, host: Make) -> None:
    own = host(revision=CORE)
    before = re.sub(r"\.[0-9a-f]+\.", f".{int(time.time()) - 60:x}.", session(own))
    for headers in ({"mcp_session_id": before}, {"mcp_session_id": "not.ours"}, {"last_event_id": "1"}):
        with hearing(own, **headers) as frames:
            assert frames.next() == CHANGED
    with hearing(own, mcp_session_id=before) as frames:
        assert frames.next() == CHANGED
        cast.tool(cast.acme, "echo")
        assert frames.next() == CHANGED
        assert nothing_more(cast, frames), "once, and then of changes"


def test_a_change_between_initialize_and_the_stream_is_told(cast: Cast, host: Make) -> None:
    own = host(revision=CORE)
    given = session(own)
    cast.tool(cast.acme, "echo")
    with hearing(own, mcp_session_id=given) as frames:
        assert frames.next() == CHANGED


def test_frames_carry_no_id(cast: Cast, host: Make) -> None:
    own = host(revision=CORE)
    sent = {**own.headers(), **STREAM}
    with httpx2.Client(timeout=30) as client, client.stream("GET", own.url, headers=sent) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        lines = answer.iter_lines()
        said = [next(lines) for _ in range(4)]
    assert said[:3] == [": open", "", "event: message"]
    assert said[3].startswith("data: ")


# What initialize says


@pytest.mark.parametrize("revision", OLDER)
def test_initialize_promises_it_and_names_a_session_of_nothing(host: Make, revision: str) -> None:
    own = host(revision=revision)
    params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    answers = [own.request("initialize", params) for _ in range(2)]
    assert [answer.result["capabilities"]["tools"] for answer in answers] == [{"listChanged": True}] * 2
    one, other = (answer.headers["mcp-session-id"] for answer in answers)
    assert one != other
    assert re.fullmatch(r"[\x21-\x7e]+", one)
    for worker, given in ((0, one), (1, one), (1, "made-up")):
        answer = Host(host(worker=worker).base, own.slug, own.key, revision).request("tools/list", mcp_session_id=given)
        assert answer.status == 200, "nothing is kept of it, so nothing is refused for it"


def test_nothing_else_names_a_session(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "echo")
    assert "mcp-session-id" not in host().request("server/discover").headers
    own = host(revision=CORE)
    assert "mcp-session-id" not in own.request("tools/list").headers
    assert "mcp-session-id" not in own.request("initialize", {"protocolVersion": 5}).headers
    assert "mcp-session-id" not in own.post({"jsonrpc": "2.0", "method": "initialize"}).headers


# Who cannot have one


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}], ids=["none", "wrong"])
def test_without_a_good_credential_it_is_refused_as_post_is(
    hub: list[str], cast: Cast, client: httpx2.Client, headers: dict[str, str]
) -> None:
    asked = {**STREAM, **headers, "mcp-protocol-version": CORE}
    answer, posted = (client.request(way, url(hub, cast.acme), headers=asked) for way in ("GET", "POST"))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == posted.headers["www-authenticate"]
    assert answer.json() == posted.json()


@pytest.mark.parametrize(
    ("method", "headers", "status", "allow"),
    [
        ("GET", {**STREAM, "mcp-protocol-version": MODERN}, 405, "POST"),
        ("GET", STREAM, 405, "POST"),
        ("GET", {**STREAM, "mcp-protocol-version": "2099-01-01"}, 400, None),
        ("GET", {"accept": "application/json", "mcp-protocol-version": CORE}, 406, None),
        ("GET", {"accept": "*/*", "mcp-protocol-version": CORE}, 406, None),
        ("HEAD", {**STREAM, "mcp-protocol-version": CORE}, 405, "GET, POST"),
        ("DELETE", {"mcp-session-id": "x", "mcp-protocol-version": CORE}, 405, "GET, POST"),
        ("DELETE", {"mcp-session-id": "x"}, 405, "GET, POST"),
        ("DELETE", {"mcp-protocol-version": MODERN}, 405, "POST"),
    ],
    ids=["modern", "HTTP+SSE", "unknown", "json", "anything", "head", "delete", "delete by session", "modern delete"],
)
def test_who_can_have_none_is_told_so(
    hub: list[str], cast: Cast, client: httpx2.Client, method: str, headers: dict[str, str], status: int, allow: Any
) -> None:
    _, key = cast.key(cast.uma)
    with client.stream(method, url(hub, cast.acme), headers={**bearer(key), **headers}) as answer:
        assert (answer.status_code, answer.headers.get("allow")) == (status, allow)


def test_a_page_of_an_allowed_origin_may_open_it(cast: Cast, host: Make) -> None:
    own = host(revision=CORE)
    sent = {**own.headers(), **STREAM, "origin": own.base}
    with httpx2.Client(timeout=30) as client, client.stream("GET", own.url, headers=sent) as answer:
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == own.base


# How many, and how they end


@pytest.fixture(scope="module")
def narrow() -> Iterator[str]:
    """A server process with little room."""
    with serve(count=1, JOBS_WAITS=str(WAITS)) as (base,):
        yield base


def test_one_member_has_so_many_and_they_are_not_those_of_jobs(cast: Cast, narrow: str) -> None:
    lasting(cast)

    def own(revision: str = CORE) -> Host:
        return Host(narrow, cast.acme.slug, cast.key(cast.uma)[1], revision)

    def asked() -> httpx2.Response:
        with httpx2.Client(timeout=30) as client, client.stream("GET", own().url, headers=headers) as answer:
            if answer.status_code != 200:
                answer.read()
            return answer

    headers = {**own().headers(), **STREAM}
    with hearing(own()), hearing(own()):
        refused = asked()
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        error = refused.json()["error"]
        assert (error["code"], error["data"]["reason"], error["data"]["retryable"]) == (-32003, "too_many_waits", True)
        assert "listen to the list of tools" in error["message"]
        with hearing(Host(narrow, cast.acme.slug, cast.key(cast.olga)[1], CORE)):
            pass
        with listening(own(MODERN), {"taskIds": [start(own(MODERN))["taskId"]]}) as frames:
            assert frames.told()[0] == "notifications/subscriptions/acknowledged"
    until(lambda: asked().status_code == 200)


def test_a_hub_that_stops_ends_what_is_open_and_does_not_wait_for_it(cast: Cast) -> None:
    lasting(cast)
    with contextlib.ExitStack() as hub, contextlib.ExitStack() as open_:
        (base,) = hub.enter_context(serve(count=1))
        key = cast.key(cast.uma)[1]
        own, modern = Host(base, cast.acme.slug, key, CORE), Host(base, cast.acme.slug, key)
        heard = open_.enter_context(hearing(own))
        told = open_.enter_context(listening(modern, {"toolsListChanged": True}))
        told.told()
        path = f"{base}/api/v1/t/{cast.acme.slug}/jobs/{start(modern)['taskId']}/events"
        client = open_.enter_context(httpx2.Client(timeout=30, headers={"authorization": f"Bearer {key}"}))
        job = open_.enter_context(client.stream("GET", path))
        lines = job.iter_lines()
        assert next(lines).startswith("retry")
        began = time.monotonic()
        hub.close()
        assert time.monotonic() - began < 8, "it was killed, as it had not ended by itself"
        assert heard.ended()
        assert told.next()["result"]["resultType"] == "complete"
        assert [line for line in lines if "event: state" in line], "to its end, which is no broken one"


@pytest.fixture
def secret(cast: Cast) -> str:
    cast.tool(cast.acme, "echo")
    return cast.key(cast.uma)[1]


async def test_an_outage_of_postgres_ends_no_stream(
    cast: Cast, secret: str, listening: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it cannot be said who may know, nothing is told; as soon as it can, it is."""
    said: asyncio.Queue[str] = asyncio.Queue()
    let_in_again: Callable[[Visit], Any] = tasks.let_in_again

    async def failing_once(visit: Visit) -> Any:
        monkeypatch.setattr(tasks, "let_in_again", let_in_again)
        said.put_nowait("away")
        raise OperationalError("away")

    async def notify(message: Any) -> None:
        said.put_nowait(message["method"])

    found = await admit(cast.acme.slug, secret)
    assert found is not None
    assert found.caller is not None
    offered = replace(await catalog(found.tenant_id, found.catalog_version), tools={}, renderings={})
    monkeypatch.setattr(tasks, "let_in_again", failing_once)
    visit = Visit(caller=found.caller, catalog=offered, headers={}, address="", notify=notify, secret=lambda: secret)
    reply = Reply(nothing, nothing, extra=[], streaming=True, cancels=True)
    hearing = asyncio.create_task(listen.hear(visit, CORE, reply))
    try:
        async with asyncio.timeout(30):
            assert await said.get() == CHANGED["method"], "it has no word of what it saw"
            for expected in ("away", CHANGED["method"]):
                wake(cast)
                assert await said.get() == expected
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)


async def nothing(*_: Any) -> Any:
    return None


def wake(cast: Cast) -> None:
    with as_app() as conn:
        conn.execute("SELECT pg_notify(%s, %s)", [events.CHANNEL, json.dumps({"t": cast.acme.pk, "e": "lists"})])
