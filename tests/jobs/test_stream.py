"""A job's events as server-sent events: what is told, to whom, and that following costs nothing meanwhile."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import orjson
import pytest

from access.actions import revoke_key
from access.models import APIKey
from jobs import rows, stream
from jobs.values import View
from lib import events
from tenants.caller import Caller
from tests.cast import Cast
from tests.database import apart
from tests.jobs.front import Front, change, claim, end, front
from tests.jobs.place import Placed, place
from tests.postgres import as_app
from tests.postgres import rows as found


@pytest.fixture
def scene(cast: Cast, hub: list[str]) -> Front:
    return front(cast, hub[0])


Frames = Iterator[dict[str, Any]]


@contextmanager
def following(client: httpx2.Client, job: Placed, base: str = "") -> Iterator[Frames]:
    url = f"jobs/{job.id}/events"
    path = f"{base}{client.base_url.path}{url}" if base else url
    with client.stream("GET", path) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        yield frames(answer.iter_lines())


def frames(lines: Iterator[str]) -> Frames:
    """Events with their fields, the comments left out."""
    fields: dict[str, Any] = {}
    for line in lines:
        assert line != ": ping", "nothing was told for a long time"
        name, _, value = line.partition(": ")
        if line and name:
            fields[name] = json.loads(value) if name == "data" else value
        elif "event" in fields:
            yield fields
            fields = {}


def tell(job: Placed, **payload: Any) -> None:
    """What a worker publishes."""
    told = {"t": job.row()["tenant_id"], "j": str(job.id), **payload}
    with as_app() as conn:
        conn.execute("SELECT pg_notify('mcphub', %s)", [orjson.dumps(told).decode()])


def test_a_stream_says_how_the_job_is_and_then_what_happens_until_its_end(scene: Front) -> None:
    job = scene.job(scene.cast.uma)
    with scene.client(scene.cast.uma) as uma, following(uma, job) as told:
        first = next(told)
        assert (first["event"], first["data"]["state"], first["data"]["id"]) == ("state", "queued", str(job.id))
        fence = claim(job)
        tell(job, e="state", s="running")
        assert next(told)["data"]["state"] == "running"
        tell(job, e="progress", p=3, of=12, m="reading")
        progress = next(told)
        assert (progress["event"], progress["data"]) == (
            "progress",
            {"done": 3.0, "total": 12.0, "message": "reading"},
        )
        end(job, fence=fence)
        last = next(told)
        assert (last["event"], last["data"]["state"]) == ("state", "succeeded")
        assert int(last["id"]) > int(first["id"])
        assert list(told) == []


def test_what_a_stream_says_of_a_job_is_what_its_url_says(scene: Front) -> None:
    job = scene.job(scene.cast.uma)
    end(job)
    with scene.client(scene.cast.uma) as uma:
        with following(uma, job) as told:
            (only,) = told
        assert only["data"] == uma.get(f"jobs/{job.id}/").json()


def test_any_web_server_streams_what_happens_on_another(scene: Front, hub: list[str]) -> None:
    job = scene.job(scene.cast.uma)
    with scene.client(scene.cast.uma) as uma, following(uma, job, base=hub[1]) as told:
        next(told)
        assert uma.post(f"jobs/{job.id}/cancel/").status_code == 200
        assert next(told)["data"]["state"] == "cancelled"
        assert list(told) == []


def test_a_job_that_is_asked_to_stop_says_so_before_it_has(scene: Front) -> None:
    job = scene.job(scene.cast.uma)
    claim(job)
    with scene.client(scene.cast.uma) as uma, following(uma, job) as told:
        assert next(told)["data"]["cancelling"] is False
        uma.post(f"jobs/{job.id}/cancel/")
        said = next(told)["data"]
        assert (said["state"], said["cancelling"]) == ("running", True)


def test_a_stream_says_the_end_though_its_listener_was_away(scene: Front) -> None:
    job = scene.job(scene.cast.uma)
    with scene.client(scene.cast.uma) as uma, following(uma, job) as told:
        assert next(told)["data"]["state"] == "queued"
        with as_app() as conn:
            ended = found(
                conn,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'mcphub events' AND datname = current_database()",
            )
        assert ended
        end(job)
        assert [frame["data"]["state"] for frame in told][-1] == "succeeded"


class Browser:
    """A client of the ASGI application in this process, which goes away when it is told to."""

    def __init__(self, slug: str, secret: str) -> None:
        self.sent: list[bytes] = []
        self.ended = False
        self._wrote = asyncio.Condition()
        self.gone = asyncio.Event()
        self.scope = {
            "type": "http",
            "method": "GET",
            "path": "",
            "query_string": b"",
            "client": ("192.0.2.9", 1),
            "headers": [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {secret}".encode())],
        }
        self.slug = slug

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        async with self._wrote:
            self.sent.append(message.get("body", b""))
            self.ended = message.get("more_body") is False
            self._wrote.notify_all()

    async def follow(self, job: Placed) -> None:
        await stream.stream(self.scope, self.receive, self.send, self.slug, str(job.id))

    async def heard(self, what: bytes) -> None:
        async with asyncio.timeout(30), self._wrote:
            await self._wrote.wait_for(lambda: any(what in one for one in self.sent))


async def over(*follows: asyncio.Task[None]) -> None:
    """By themselves: a stream takes a cancellation, as of a timeout, for the end of its server."""
    done, _ = await asyncio.wait(follows, timeout=30)
    assert len(done) == len(follows)
    await asyncio.gather(*follows)


@pytest.fixture
def secret(cast: Cast) -> tuple[APIKey, str]:
    return cast.key(cast.uma)


@pytest.fixture
def job(cast: Cast) -> Placed:
    return front(cast, "").job(cast.uma)


async def test_a_stream_ends_once_its_key_is_revoked(
    running: None, cast: Cast, secret: tuple[APIKey, str], job: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PING", 0.02)
    monkeypatch.setattr(stream, "ADMIT_AGAIN", 0.0)
    key, opens = secret
    browser = Browser(cast.acme.slug, opens)
    follows = asyncio.create_task(browser.follow(job))
    await browser.heard(b": ping\n\n")

    await asyncio.to_thread(apart, lambda: _revoke(cast, key))
    await over(follows)
    assert b"event: state" in browser.sent[2]


async def test_who_lost_the_key_is_not_told_how_the_job_ended(
    running: None, cast: Cast, secret: tuple[APIKey, str], job: Placed
) -> None:
    key, opens = secret
    browser = Browser(cast.acme.slug, opens)
    follows = asyncio.create_task(browser.follow(job))
    await browser.heard(b"event: state")

    await asyncio.to_thread(apart, lambda: _revoke(cast, key))
    await asyncio.to_thread(apart, lambda: end(job))
    await over(follows)
    assert browser.ended
    assert not any(b"succeeded" in one for one in browser.sent)


def _revoke(cast: Cast, key: APIKey) -> None:
    with cast.see(cast.acme):
        revoke_key(key, actor="uma")


async def test_fifty_streams_read_nothing_while_only_progress_is_made(
    listening: None, cast: Cast, secret: tuple[APIKey, str], job: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []

    async def get(caller: Caller, job_id: str) -> View | None:
        reads.append(job_id)
        return await rows.get(caller, job_id)

    monkeypatch.setattr(stream, "rows", SimpleNamespace(get=get))
    browsers = [Browser(cast.acme.slug, secret[1]) for _ in range(50)]
    follows = [asyncio.create_task(browser.follow(job)) for browser in browsers]
    await asyncio.gather(*(browser.heard(b"event: state") for browser in browsers))
    assert len(reads) == 100  # may they see it; and once more when they watch
    await events.publish(events.Event(tenant_id=cast.acme.pk, job_id=job.id, kind="progress", progress=1.0))
    await asyncio.gather(*(browser.heard(b"event: progress") for browser in browsers))
    assert len(reads) == 100
    await asyncio.to_thread(end, job)
    await over(*follows)
    assert all(b"succeeded" in browser.sent[-2] for browser in browsers)


async def test_a_client_that_goes_away_leaves_nothing_behind(
    running: None, cast: Cast, secret: tuple[APIKey, str], job: Placed
) -> None:
    browser = Browser(cast.acme.slug, secret[1])
    follows = asyncio.create_task(browser.follow(job))
    await browser.heard(b"event: state")
    watched = (cast.acme.pk, job.id)
    assert watched in events._bus()._watchers
    browser.gone.set()
    await over(follows)
    assert watched not in events._bus()._watchers


async def test_a_stream_ends_in_order_when_its_server_stops(
    running: None, cast: Cast, secret: tuple[APIKey, str], job: Placed
) -> None:
    browser = Browser(cast.acme.slug, secret[1])
    follows = asyncio.create_task(browser.follow(job))
    await browser.heard(b"event: state")
    follows.cancel()
    await over(follows)
    assert browser.ended


def test_an_event_is_not_heard_by_followers_of_other_jobs(scene: Front) -> None:
    job, other = scene.job(scene.cast.uma), scene.job(scene.cast.uma)
    with scene.client(scene.cast.uma) as uma, following(uma, job) as told:
        next(told)
        tell(other, e="progress", p=1)
        tell(job, e="progress", p=2)
        assert next(told)["data"]["done"] == 2


def test_who_comes_again_is_told_how_the_job_is_now(scene: Front) -> None:
    job = scene.job(scene.cast.uma)
    with scene.client(scene.cast.uma) as uma, following(uma, job) as told:
        seen = next(told)["id"]
    end(job)
    with scene.client(scene.cast.uma, **{"last-event-id": seen}) as uma, following(uma, job) as told:
        assert [frame["data"]["state"] for frame in told] == ["succeeded"]


def test_a_job_taken_out_of_sight_ends_its_stream(scene: Front) -> None:
    job = scene.job(scene.cast.uma)
    with scene.client(scene.cast.uma) as uma, following(uma, job) as told:
        next(told)
        change(job, "member_id = %s", scene.cast.member(scene.cast.acme, scene.cast.olga).pk)
        tell(job, e="state", s="queued")
        assert list(told) == []


def test_progress_comes_from_a_worker_to_the_web_server_that_streams(
    cast: Cast, hub: list[str], worker: int, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    job = place(cast).start(cast.tool(cast.acme, "count_when_told"), {"path": str(go), "steps": 3})
    job.until("running")
    client = httpx2.Client(
        base_url=f"{hub[1]}/api/v1/t/{cast.acme.slug}/",
        headers={"authorization": f"Bearer {cast.key(cast.uma)[1]}"},
        timeout=30,
    )
    with client, following(client, job) as told:
        next(told)
        go.touch()
        seen = list(told)
    done = [frame["data"]["done"] for frame in seen if frame["event"] == "progress"]
    assert done
    assert done == sorted(done)
    assert done[-1] == 3
    assert seen[-1]["data"]["state"] == "succeeded"
