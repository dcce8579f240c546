"""Kind `http` with an upstream that only starts the work, from its front door, against a real server on loopback."""

import asyncio
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from pydantic import ValidationError

from lib.detect.known import STAND_IN
from tests.callers import UMA
from tests.tools.upstream import SECRET, Answer, Upstream, answering, connect, make_tool
from tools.catalog import LiveConnection
from tools.errors import Misconfigured, ToolError, UpstreamError
from tools.kinds import http, http_async
from tools.kinds.http_config import Asynchronous, Config
from tools.values import Call, Origin, Result

FOLLOW: dict[str, Any] = {"poll": "/reports/{id}", "failed": ["failed"], "progress": "progress", "result": "result"}
CONFIG: dict[str, Any] = {"method": "POST", "path": "/reports", "asynchronous": FOLLOW}
STARTED = answering({"id": "r-1", "status": "running", "progress": 0}, status=202)
DONE = answering({"id": "r-1", "status": "done", "progress": 1, "result": {"open": 12}})


def at(progress: float, **more: Any) -> Answer:
    return answering({"id": "r-1", "status": "running", "progress": progress, **more})


class Job:
    """The Report of an attempt at a job, as a worker gives it."""

    def __init__(self, upstream: Mapping[str, Any] | None = None, *, handed_back: bool = False) -> None:
        self.upstream = upstream
        self.handed_back = handed_back
        self.said: list[tuple[float, float | None, str | None]] = []

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        self.said.append((progress, total, message))

    async def log(self, level: str, data: Any) -> None:
        raise AssertionError("it logs nothing to its host")

    async def keep(self, upstream: Mapping[str, Any]) -> None:
        self.upstream = upstream


class CalledBackJob(Job):
    """The same with an upstream that calls back. calls: what it says, one after the other; None is a wait in vain."""

    url = "https://hub.example/c/WzEsImEiXQ.s1gn-atur3"

    def __init__(self, *calls: Any, upstream: Mapping[str, Any] | None = None) -> None:
        super().__init__(upstream)
        self.calls = [None if one is None else json.dumps(one).encode() for one in calls]
        self.waits: list[float] = []
        self.waits_for_ever = asyncio.Event()

    def callback_url(self) -> str:
        return self.url

    async def called_back(self, seconds: float) -> bytes | None:
        self.waits.append(seconds)
        if not self.calls:
            self.waits_for_ever.set()
            await asyncio.Event().wait()
        return self.calls.pop(0)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the kind would have waited between two times of asking; no time passes."""
    waited: list[float] = []

    async def note(seconds: float) -> None:
        waited.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(http_async, "sleep", note)
    return waited


async def run(
    upstream: Upstream,
    job: Job | None = None,
    *,
    config: dict[str, Any] | None = None,
    arguments: dict[str, Any] | None = None,
    connection: LiveConnection | None = None,
) -> Result:
    tool = make_tool(connection or connect(upstream), config or CONFIG)
    call = Call(
        id=uuid.uuid4(),
        caller=UMA,
        tool=tool,
        arguments=arguments or {},
        origin=Origin(via="mcp"),
        report=job or Job(),
    )
    return await http.run(call)


def asked(upstream: Upstream) -> list[tuple[str, str]]:
    return [(seen.method, seen.raw) for seen in upstream.seen]


async def test_it_starts_the_work_once_and_asks_until_it_is_done(upstream: Upstream, pauses: list[float]) -> None:
    upstream.answers = [STARTED, at(0.4), at(0.8), DONE]
    job = Job()
    result = await run(upstream, job, arguments={"group_by": "status"})
    assert result.structured == {"open": 12}
    assert asked(upstream) == [("POST", "/api/reports"), *[("GET", "/api/reports/r-1")] * 3]
    assert json.loads(upstream.seen[0].body) == {"group_by": "status"}
    assert [seen.body for seen in upstream.seen[1:]] == [b"", b"", b""]
    assert job.said == [(0, 1, None), (0.4, 1, None), (0.8, 1, None)]
    assert pauses == [2.0, 2.0, 2.0]


async def test_the_upstreams_id_is_kept_before_it_is_asked_for_the_first_time(upstream: Upstream) -> None:
    job = Job()

    async def looked_at(request: web.Request) -> web.StreamResponse:
        assert job.upstream == {"id": "r-1"}
        return await DONE(request)

    upstream.answers = [STARTED, looked_at]
    assert (await run(upstream, job)).structured == {"open": 12}


async def test_another_attempt_asks_on_and_does_not_start_the_work_again(upstream: Upstream) -> None:
    upstream.answers = [at(0.9), DONE]
    assert (await run(upstream, Job({"id": "r-1"}))).structured == {"open": 12}
    assert asked(upstream) == [("GET", "/api/reports/r-1")] * 2


async def test_work_that_is_done_at_once_is_not_asked_for(upstream: Upstream) -> None:
    upstream.answers = [DONE]
    assert (await run(upstream)).structured == {"open": 12}
    assert len(upstream.seen) == 1


async def test_failed_work_is_an_error_with_what_the_upstream_said_and_no_secret(upstream: Upstream) -> None:
    said = {"id": "r-1", "status": "failed", "why": f"no disk for {SECRET}"}
    upstream.answers = [STARTED, answering(said)]
    config = {**CONFIG, "asynchronous": {**FOLLOW, "message": "why"}}
    connection = connect(upstream, auth="bearer", secret=SECRET)
    with pytest.raises(UpstreamError, match=f"state is 'failed'. It said: no disk for {re.escape(STAND_IN)}"):
        await run(upstream, config=config, connection=connection)


async def test_every_request_about_the_work_proves_itself_and_carries_what_is_sent_with_all(upstream: Upstream) -> None:
    upstream.answers = [STARTED, DONE]
    config = {**CONFIG, "headers": {"X-Team": "support"}, "query": {"v": 2}, "body": {"deep": True}}
    await run(upstream, config=config, connection=connect(upstream, auth="bearer", secret="opensesame"))
    assert [seen.headers["Authorization"] for seen in upstream.seen] == ["Bearer opensesame"] * 2
    assert [seen.headers["X-Team"] for seen in upstream.seen] == ["support"] * 2
    assert [seen.raw for seen in upstream.seen] == ["/api/reports?v=2", "/api/reports/r-1?v=2"]


async def test_the_path_to_ask_at_takes_arguments_beside_the_id(upstream: Upstream) -> None:
    upstream.answers = [answering({"id": 7}, status=202), DONE]
    config = {**CONFIG, "path": "/desks/{desk}/reports"}
    config["asynchronous"] = {**FOLLOW, "poll": "/desks/{desk}/reports/{id}"}
    await run(upstream, config=config, arguments={"desk": "north", "id": "mine"})
    assert upstream.last.raw == "/api/desks/north/reports/7"


async def test_what_may_pass_is_asked_again_after_growing_pauses(upstream: Upstream, pauses: list[float]) -> None:
    broken = answering({"error": "restarting"}, status=503)
    upstream.answers = [STARTED, broken, broken, at(0.5), DONE]
    assert (await run(upstream)).structured == {"open": 12}
    assert pauses == [2.0, 4.0, 8.0, 2.0]


async def test_an_upstream_that_stays_broken_is_given_up(upstream: Upstream, pauses: list[float]) -> None:
    upstream.answers = [STARTED, answering({"error": "no more"}, status=500)]
    with pytest.raises(UpstreamError, match="500 Internal Server Error"):
        await run(upstream)
    assert len(upstream.seen) == 1 + 10
    assert max(pauses) == 60.0


async def test_work_that_the_upstream_forgot_is_an_error_at_once(upstream: Upstream) -> None:
    upstream.answers = [STARTED, answering({"message": "no such report"}, status=404)]
    with pytest.raises(UpstreamError, match="no such report"):
        await run(upstream)
    assert len(upstream.seen) == 2


async def test_an_upstream_that_asks_for_longer_pauses_gets_them(upstream: Upstream, pauses: list[float]) -> None:
    patient = answering({"status": "running"}, headers={"Retry-After": "9", "Content-Type": "application/json"})
    upstream.answers = [STARTED, patient, DONE]
    await run(upstream)
    assert pauses == [2.0, 9.0]


@pytest.mark.parametrize("given", [{}, {"id": None}, {"id": ""}, {"id": True}, {"id": {"deep": 1}}])
async def test_work_without_an_id_is_an_error_that_says_it_may_have_begun(
    upstream: Upstream, given: dict[str, Any]
) -> None:
    upstream.answers = [answering(given, status=202)]
    with pytest.raises(UpstreamError, match="may have taken effect"):
        await run(upstream)


@pytest.mark.parametrize("name", ["../admin", "a/b", "..", "%2e%2e"])
async def test_an_id_cannot_lead_out_of_the_path_it_is_put_into(upstream: Upstream, name: str) -> None:
    upstream.answers = [answering({"id": name}, status=202), DONE]
    with pytest.raises(ToolError):
        await run(upstream)
    assert len(upstream.seen) == 1


async def test_an_answer_the_expressions_do_not_fit_is_a_fault_of_the_tool(upstream: Upstream) -> None:
    upstream.answers = [STARTED, answering({"status": "done", "result": 7})]
    config = {**CONFIG, "asynchronous": {**FOLLOW, "result": "length(result)"}}
    with pytest.raises(Misconfigured):
        await run(upstream, config=config)


async def _cancelled(upstream: Upstream, job: Job) -> None:
    """Run it until the upstream was asked how far it is, and cancel it there."""
    reached = asyncio.Event()

    async def hanging(request: web.Request) -> web.StreamResponse:
        reached.set()
        return await at(0.1)(request)

    upstream.answers = [STARTED, hanging]
    config = {**CONFIG, "asynchronous": {**FOLLOW, "cancel": {"method": "POST", "path": "/reports/{id}/stop"}}}
    running = asyncio.create_task(run(upstream, job, config=config))
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_cancelling_it_tells_the_upstream_to_stop(upstream: Upstream) -> None:
    await _cancelled(upstream, Job())
    assert asked(upstream)[-1] == ("POST", "/api/reports/r-1/stop")


async def test_work_that_goes_on_elsewhere_is_left_running_at_the_upstream(upstream: Upstream) -> None:
    await _cancelled(upstream, Job(handed_back=True))
    assert {method for method, _ in asked(upstream)[1:]} == {"GET"}


async def test_an_upstream_that_refuses_to_stop_does_not_change_that_it_is_cancelled(
    upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    async def refusing(request: web.Request) -> web.StreamResponse:
        stop = request.method == "POST" and request.path.endswith("/stop")
        return await (answering({"error": "too late"}, status=409) if stop else at(0.1))(request)

    reached = asyncio.Event()

    async def first(request: web.Request) -> web.StreamResponse:
        reached.set()
        return await refusing(request)

    upstream.answers = [STARTED, first, refusing]
    config = {**CONFIG, "asynchronous": {**FOLLOW, "cancel": {"method": "POST", "path": "/reports/{id}/stop"}}}
    running = asyncio.create_task(run(upstream, config=config))
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert "did not stop: 409" in caplog.text


# Upstreams that call back


CALLED: dict[str, Any] = {**FOLLOW, "callback": {"in": "body"}}
ONLY_CALLED = {name: value for name, value in CALLED.items() if name != "poll"}


def called(asynchronous: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**CONFIG, "asynchronous": asynchronous, **more}


async def test_the_first_request_says_where_to_call_back_and_no_other_does(upstream: Upstream) -> None:
    upstream.answers = [STARTED, at(0.5)]
    job = CalledBackJob(None, {"status": "done", "result": 1})
    assert (await run(upstream, job, config=called(CALLED), arguments={"a": 1})).structured == 1
    assert json.loads(upstream.seen[0].body) == {"a": 1, "callback_url": job.url}
    assert asked(upstream)[1:] == [("GET", "/api/reports/r-1")]
    assert upstream.last.body == b""
    assert job.waits == [2.0, 2.0]


@pytest.mark.parametrize(
    ("method", "callback", "found"),
    [
        ("GET", {"in": "header", "name": "X-Notify"}, lambda seen: seen.headers["X-Notify"]),
        ("GET", {"in": "query", "name": "notify"}, lambda seen: seen.query["notify"]),
        ("POST", {"in": "body", "name": "notify"}, lambda seen: json.loads(seen.body)["notify"]),
    ],
)
async def test_the_url_goes_where_the_config_says(
    upstream: Upstream, method: str, callback: dict[str, str], found: Any
) -> None:
    upstream.answers = [STARTED]
    job = CalledBackJob({"status": "done", "result": 1})
    await run(upstream, job, config=called({**ONLY_CALLED, "callback": callback}, method=method))
    assert found(upstream.last) == job.url


@pytest.mark.parametrize("answer", [answering(b"", status=202), answering("Accepted", status=202), STARTED])
async def test_who_calls_back_need_not_say_anything_first(upstream: Upstream, answer: Answer) -> None:
    upstream.answers = [answer]
    job = CalledBackJob({"progress": 0.5}, {"status": "done", "result": 1})
    assert (await run(upstream, job, config=called(ONLY_CALLED))).structured == 1
    assert (0.5, 1, None) in job.said
    assert len(upstream.seen) == 1


async def test_an_upstream_that_refuses_the_work_is_not_waited_for(upstream: Upstream) -> None:
    upstream.answers = [answering({"error": "no more today"}, status=409)]
    with pytest.raises(UpstreamError, match="no more today"):
        await run(upstream, CalledBackJob(), config=called(ONLY_CALLED))


@pytest.mark.parametrize("asynchronous", [CALLED, ONLY_CALLED])
async def test_a_first_answer_that_is_lost_does_no_harm_once_it_has_called_back(
    upstream: Upstream, asynchronous: dict[str, Any]
) -> None:
    upstream.answers = [answering({"error": "gateway timeout"}, status=504)]
    job = CalledBackJob({"progress": 0.1}, {"status": "done", "result": 1})
    assert (await run(upstream, job, config=called(asynchronous))).structured == 1
    assert job.said == [(0.1, 1, None)]
    assert len(upstream.seen) == 1


async def test_a_first_answer_that_is_lost_is_an_error_where_nothing_was_called_back(upstream: Upstream) -> None:
    upstream.answers = [answering({"error": "gateway timeout"}, status=504)]
    with pytest.raises(UpstreamError, match="may have taken effect"):
        await run(upstream, CalledBackJob(None), config=called(CALLED))


async def test_who_is_asked_too_still_needs_an_id(upstream: Upstream) -> None:
    upstream.answers = [answering({}, status=202)]
    with pytest.raises(UpstreamError, match="may have taken effect"):
        await run(upstream, CalledBackJob(), config=called(CALLED))


async def test_another_attempt_waits_on_for_what_was_started_without_an_id(upstream: Upstream) -> None:
    job = CalledBackJob(None, {"status": "done", "result": 1}, upstream={"start": 1})
    assert (await run(upstream, job, config=called(CALLED))).structured == 1
    assert upstream.seen == []


async def test_a_call_back_ends_the_growing_pauses_of_asking(upstream: Upstream) -> None:
    upstream.answers = [STARTED, answering({"error": "restarting"}, status=503)]
    job = CalledBackJob(None, None, {"progress": 0.5}, {"status": "done", "result": 1})
    await run(upstream, job, config=called(CALLED))
    assert job.waits == [2.0, 4.0, 8.0, 2.0]


async def test_what_is_called_back_is_read_without_the_url_and_the_credentials(upstream: Upstream) -> None:
    upstream.answers = [STARTED]
    said = [CalledBackJob.url, quote(CalledBackJob.url, safe=""), CalledBackJob.url.rpartition("/")[2], SECRET]
    job = CalledBackJob({"status": "done", "result": said})
    connection = connect(upstream, auth="bearer", secret=SECRET)
    result = await run(upstream, job, config=called(ONLY_CALLED), connection=connection)
    assert result.structured == [STAND_IN] * 4


async def test_outside_of_a_job_nothing_is_started_that_could_only_call_back(upstream: Upstream) -> None:
    with pytest.raises(Misconfigured, match="only a job can be called back"):
        await run(upstream, Job(), config=called(ONLY_CALLED))
    assert upstream.seen == []


async def test_outside_of_a_job_an_upstream_that_can_be_asked_is_given_no_url(upstream: Upstream) -> None:
    upstream.answers = [STARTED, DONE]
    assert (await run(upstream, Job(), config=called(CALLED))).structured == {"open": 12}
    assert upstream.seen[0].body == b""


async def test_work_that_has_no_id_is_cancelled_without_telling_the_upstream(
    upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.answers = [answering(b"", status=202)]
    job = CalledBackJob()
    running = asyncio.create_task(
        run(upstream, job, config=called({**ONLY_CALLED, "cancel": {"path": "/reports/{id}"}}))
    )
    await job.waits_for_ever.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert "it gave no id" in caplog.text
    assert job.url not in caplog.text
    assert len(upstream.seen) == 1


async def test_no_argument_replaces_the_url(upstream: Upstream) -> None:
    with pytest.raises(Misconfigured, match="callback_url"):
        await run(upstream, CalledBackJob(), config=called(CALLED), arguments={"callback_url": "https://mine.example"})
    assert upstream.seen == []


TAKEN: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "by a fixed field": ({"in": "body", "name": "x"}, {"body": {"x": 1}}, "already taken"),
    "by an argument": ({"in": "body"}, {"parameters": {"u": {"in": "body", "name": "callback_url"}}}, "already taken"),
    "by a header": ({"in": "header", "name": "x-n"}, {"headers": {"X-N": "1"}}, "already taken"),
    "by the hub": ({"in": "header", "name": "Content-Type"}, {}, "the hub sets it"),
    "by credentials": ({"in": "header", "name": "Authorization"}, {}, "credentials"),
    "by nobody, as there is no body": ({"in": "body"}, {"method": "GET"}, "GET has none"),
}


@pytest.mark.parametrize(("callback", "config", "sentence"), TAKEN.values(), ids=TAKEN.keys())
def test_a_place_for_the_url_that_is_taken_is_refused(
    callback: dict[str, Any], config: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Config.model_validate(called({**ONLY_CALLED, "callback": callback}, **config))


WRONG: dict[str, dict[str, Any]] = {
    "a path without the id": {"poll": "/reports"},
    "a path out of the base URL": {"poll": "/../{id}"},
    "no JMESPath": {"poll": "/r/{id}", "result": "a["},
    "an unknown function": {"poll": "/r/{id}", "progress": "percent(x)"},
    "a state that is both": {"poll": "/r/{id}", "done": ["x"], "failed": ["x"]},
    "no state that is done": {"poll": "/r/{id}", "done": []},
    "a hurried poll": {"poll": "/r/{id}", "every": 0},
    "a cancel without the id": {"poll": "/r/{id}", "cancel": {"path": "/r"}},
    "a key nobody knows": {"poll": "/r/{id}", "webhook": "x"},
    "neither a poll nor a callback": {"done": ["done"]},
    "a callback that goes nowhere": {"callback": {"name": "url"}},
    "a callback into the path": {"callback": {"in": "path", "name": "url"}},
    "a callback without a name": {"callback": {"in": "body", "name": ""}},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_config_that_could_not_follow_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Asynchronous.model_validate(wrong)


def test_the_result_is_said_in_one_place() -> None:
    with pytest.raises(ValidationError, match=r"asynchronous\.result"):
        Config.model_validate({**CONFIG, "response": "report"})
