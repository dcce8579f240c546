"""How much one member may follow: a few waits at once and so many looks a minute, by all ways together."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
import pytest

from tenants.models import User
from tests.cast import Cast
from tests.gateway.following import CORE, claim, end, follow, lasting, listening, start, streaming, tell
from tests.host import MODERN, REVISIONS, Answer, Host
from tests.servers import serve
from tests.waiting import until

Found = TypeVar("Found")

LISTEN = "subscriptions/listen"
WAITS, LOOKS = 2, 20
AT_ONCE = 10.0
"""Seconds; what waits in these tests waits for twenty."""


@pytest.fixture(scope="module")
def narrow() -> Iterator[str]:
    """A server process with little room."""
    with serve(count=1, JOBS_WAITS=str(WAITS), FOLLOWS_PER_MINUTE=str(LOOKS)) as (url,):
        yield url


@dataclass(frozen=True)
class Scene:
    cast: Cast
    base: str

    def host(self, user: User | None = None, revision: str = MODERN) -> Host:
        return Host(self.base, self.cast.acme.slug, self.cast.key(user or self.cast.uma)[1], revision)

    def client(self, user: User | None = None) -> httpx2.Client:
        headers = {"authorization": f"Bearer {self.host(user).key}"}
        url = f"{self.base}/api/v1/t/{self.cast.acme.slug}/"
        return httpx2.Client(base_url=url, headers=headers, timeout=30)


@pytest.fixture
def scene(cast: Cast, narrow: str) -> Scene:
    lasting(cast)
    return Scene(cast=cast, base=narrow)


def refused(answer: Answer) -> Any:
    return answer.error["data"]["reason"] if "error" in answer.final else None


def listened(host: Host) -> Answer:
    """To nothing: it takes a place for a moment, and is no look at any task but one."""
    return follow(host, LISTEN, {"notifications": {}})


@contextlib.contextmanager
def full(scene: Scene) -> Iterator[None]:
    """Uma listens as often as she may."""
    with contextlib.ExitStack() as stack:
        for _ in range(WAITS):
            frames = stack.enter_context(listening(scene.host(), {"toolsListChanged": True}))
            frames.told()
        yield


def twice(ask: Callable[[], Found]) -> list[Found]:
    """What two in a row are told: every three seconds there is room for one more, which the first may find."""
    return [ask() for _ in range(2)]


def in_time(ask: Callable[[], Answer]) -> Answer:
    began = time.monotonic()
    answer = ask()
    assert time.monotonic() - began < AT_ONCE
    return answer


def test_who_listens_as_often_as_they_may_is_refused_until_one_stream_has_ended(scene: Scene) -> None:
    asking = scene.host()
    with full(scene):
        answer = listened(asking)
        assert (answer.status, answer.headers["retry-after"]) == (429, "5")
        assert (answer.error["code"], answer.error["data"]) == (
            -32003,
            {"reason": "too_many_waits", "retryable": True, "retryAfter": 5.0},
        )
        assert refused(listened(scene.host(scene.cast.olga))) is None, "others have places of their own"
    until(lambda: refused(listened(asking)) is None)


def test_one_that_goes_away_makes_room_for_one(scene: Scene) -> None:
    asking = scene.host()
    with listening(asking, {"toolsListChanged": True}) as kept:
        kept.told()
        with listening(asking, {"toolsListChanged": True}) as frames:
            frames.told()
            assert refused(listened(asking)) == "too_many_waits"
        until(lambda: refused(listened(asking)) is None)


def test_streams_of_events_have_the_same_places(scene: Scene) -> None:
    task = start(scene.host())
    path = f"jobs/{task['taskId']}/events"
    with scene.client() as client:
        with contextlib.ExitStack() as stack:
            for _ in range(WAITS):
                assert stack.enter_context(client.stream("GET", path)).status_code == 200
            answer = client.get(path)
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
            assert (answer.json()["error"]["reason"], answer.json()["error"]["retryable"]) == ("too_many_waits", True)
            assert answer.headers["content-type"] == "application/json"
            assert refused(listened(scene.host())) == "too_many_waits"
            assert client.get(f"jobs/{task['taskId']}/").status_code == 200, "who only looks is not refused"
        until(lambda: refused(listened(scene.host())) is None)


def test_waits_for_a_tasks_result_have_the_same_places(scene: Scene) -> None:
    asking, task = scene.host(revision=CORE), start(scene.host())
    fence = claim(task)
    params = {"taskId": task["taskId"], "_meta": {"progressToken": 1}}
    with contextlib.ExitStack() as stack:
        for _ in range(WAITS):
            frames = stack.enter_context(streaming(asking, "tasks/result", params))
            until(lambda: tell(scene.cast, task, e="progress", p=1) or frames.waiting())  # noqa: B023 - done with here
        answer = asking.request("tasks/result", params)
        assert (answer.status, answer.error["code"], refused(answer)) == (200, -32003, "too_many_waits")
    until(lambda: refused(listened(scene.host())) is None)
    end(task, fence=fence)


def test_a_result_that_is_there_is_given_to_who_has_no_place_left(scene: Scene) -> None:
    task = start(scene.host())
    end(task)
    with full(scene):
        answer = scene.host(revision=CORE).request("tasks/result", {"taskId": task["taskId"]})
        assert answer.text == "done"


def test_a_call_that_finds_no_place_to_wait_gets_its_handle_at_once(scene: Scene) -> None:
    lasting(scene.cast, "shout", runs="automatic", wait=20)
    with full(scene):
        answer = in_time(lambda: scene.host(revision="2025-06-18").call("shout", {"text": "a"}))
        assert answer.result["_meta"]["mcphub/job"]["status"] == "queued"


def test_a_status_that_finds_no_place_to_wait_is_told_at_once(scene: Scene) -> None:
    task = start(scene.host())
    with full(scene):
        asked = {"job_id": task["taskId"], "wait_seconds": 25}
        answer = in_time(lambda: scene.host().call("get_job_status", asked))
        assert answer.result["structuredContent"]["status"] == "queued"
        assert not answer.result["isError"]


@pytest.mark.parametrize(("revision", "status"), [(CORE, 200), (MODERN, 429)])
def test_looks_at_tasks_are_counted_for_each_member(scene: Scene, revision: str, status: int) -> None:
    asking = scene.host(revision=revision)
    answers = [follow(asking, "tasks/get", {"taskId": "nonsense"}) for _ in range(2 * LOOKS)]
    assert not any(answer.error["code"] == -32003 for answer in answers[:LOOKS])
    over = next(answer for answer in answers if answer.error["code"] == -32003)
    assert (over.status, over.error["code"], refused(over)) == (status, -32003, "rate_limited")
    assert 0 < over.error["data"]["retryAfter"] <= 60 / LOOKS
    assert int(over.headers["retry-after"]) >= 1
    other_key = scene.host(revision=revision)
    assert "rate_limited" in twice(lambda: refused(follow(other_key, "tasks/cancel", {"taskId": "x"})))
    others = follow(scene.host(scene.cast.olga, revision), "tasks/get", {"taskId": "nonsense"})
    assert others.error["code"] == -32602
    assert scene.host(revision=revision).tools()


def test_looks_over_rest_are_counted_with_them(scene: Scene) -> None:
    with scene.client() as client:
        answers = [client.get(path) for _ in range(LOOKS) for path in ("jobs/", "jobs/nonsense/events")]
        assert [answer.status_code for answer in answers[:LOOKS]] == [200, 404] * (LOOKS // 2)
        over = next(answer for answer in answers if answer.status_code == 429)
        assert (over.status_code, over.json()["error"]["reason"]) == (429, "rate_limited")
        assert over.json()["error"]["retryable"] is True
        assert int(over.headers["retry-after"]) >= 1
        assert 429 in twice(lambda: client.get("jobs/").status_code)
    asking = scene.host()
    assert "rate_limited" in twice(lambda: refused(follow(asking, "tasks/get", {"taskId": "nonsense"})))
    with scene.client(scene.cast.olga) as others:
        assert others.get("jobs/").status_code == 200


def test_listening_counts_for_every_task_that_it_names(scene: Scene) -> None:
    asking = scene.host()
    named = [start(asking, text=str(number))["taskId"] for number in range(LOOKS - 1)]
    with listening(asking, {"taskIds": named}) as frames:
        assert len(frames.told()[1]["notifications"]["taskIds"]) == len(named)
        answers = [listened(asking) for _ in range(LOOKS // 2)]
    assert refused(answers[0]) is None
    assert "rate_limited" in map(refused, answers[1:])


@pytest.mark.parametrize("revision", REVISIONS)
def test_calls_are_not_counted(scene: Scene, revision: str) -> None:
    scene.cast.tool(scene.cast.acme, "shout")
    asking = scene.host(revision=revision)
    assert [asking.call("shout", {"text": "a"}).text for _ in range(LOOKS + 1)] == ["A"] * (LOOKS + 1)
