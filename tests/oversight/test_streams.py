"""Whoever listens to something that is switched off is told at once, and heard no more."""

import threading
from typing import Any

import httpx2
import pytest

from tests.gateway.following import UNDECLARED, hearing, lasting, listening, start
from tests.host import Answer
from tests.jobs.test_stream import frames
from tests.oversight.scene import HELD, Scene
from tests.waiting import until

SOON = 10.0
OLDER = "2025-11-25"


@pytest.mark.parametrize("sort", HELD)
@pytest.mark.parametrize("worker", [0, 1])
def test_a_stream_of_who_is_shut_out_ends_at_once(scene: Scene, sort: str, worker: int) -> None:
    with listening(scene.host(worker), {"toolsListChanged": True}, UNDECLARED) as told:
        told.next()
        with scene.thrown(sort):
            until(lambda: None in told.all(), within=SOON)
            assert "error" in (told.all()[-2] or {})


@pytest.mark.parametrize("sort", ["tool", "connection"])
@pytest.mark.parametrize("worker", [0, 1])
def test_a_stream_hears_that_the_list_has_changed(scene: Scene, sort: str, worker: int) -> None:
    with listening(scene.host(worker), {"toolsListChanged": True}, UNDECLARED) as told:
        told.next()
        with scene.thrown(sort):
            assert told.told()[0] == "notifications/tools/list_changed"
        assert told.told()[0] == "notifications/tools/list_changed"


@pytest.mark.parametrize("sort", HELD)
def test_a_stream_of_an_older_revision_ends_as_well_and_tells_nothing(scene: Scene, sort: str) -> None:
    with hearing(scene.host(1, OLDER)) as told, scene.thrown(sort):
        until(lambda: told.all() == [None], within=SOON)


@pytest.mark.parametrize("sort", ["tool", "connection"])
def test_a_stream_of_an_older_revision_hears_it_too(scene: Scene, sort: str) -> None:
    with hearing(scene.host(1, OLDER)) as told:
        with scene.thrown(sort):
            assert told.next()["method"] == "notifications/tools/list_changed"
        assert told.next()["method"] == "notifications/tools/list_changed"


@pytest.mark.parametrize("sort", HELD)
def test_the_events_of_a_job_end_at_once(scene: Scene, sort: str) -> None:
    cast = scene.cast
    lasting(cast, "shout")
    task = start(scene.host(), "shout", text="hello")
    url = f"{scene.hub[1]}/api/v1/t/{cast.acme.slug}/jobs/{task['taskId']}/events"
    ended = threading.Event()
    states: list[str] = []

    def read() -> None:
        with httpx2.Client(timeout=30) as client:
            with client.stream("GET", url, headers={"authorization": f"Bearer {scene.token}"}) as answer:
                for frame in frames(answer.iter_lines()):
                    states.append(frame["data"]["state"])
            ended.set()

    reader = threading.Thread(target=read)
    reader.start()
    until(lambda: states)
    with scene.thrown(sort):
        assert ended.wait(SOON)
    reader.join(SOON)
    assert states == ["queued"], "who is shut out does not learn how it ended"


@pytest.mark.parametrize("sort", HELD)
def test_a_request_that_waits_for_a_result_ends(scene: Scene, sort: str) -> None:
    lasting(scene.cast, "shout")
    host = scene.host(revision="2025-11-25")
    task = start(host, "shout", text="hello")
    got: list[Answer] = []

    def ask() -> None:
        got.append(host.request("tasks/result", {"taskId": task["taskId"]}))

    waiting: Any = threading.Thread(target=ask)
    waiting.start()
    with listening(scene.host(), {"toolsListChanged": True}, UNDECLARED) as told:
        told.next()  # so that the hub has had time for the other
        with scene.thrown(sort):
            waiting.join(SOON)
            assert not waiting.is_alive()
    assert got[0].error["code"] in (-32600, -32002)
