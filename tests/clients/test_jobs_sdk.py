"""The official Python client follows the demo's slow report in each way that it or its model can."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
import httpx2
import mcp_types as types
import pytest
from mcp.client.client import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from mcphub import demo
from tests.cast import Cast
from tests.conftest import Endpoint
from tests.servers import helpdesk

REPORT = "export_ticket_report"
EXTENSION = "io.modelcontextprotocol/tasks"
RELATED = "io.modelcontextprotocol/related-task"
LOOK = 0.05
"""Seconds between two looks. A host would take the interval that it is told, which is a second."""


@pytest.fixture(scope="module")
def desk(hub: list[str], worker: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cast, str]]:
    """The demo tools, on a help desk whose reports take a second and a half, and the hub's other server."""
    data = tmp_path_factory.mktemp("reports") / "tickets.json"
    with helpdesk(data, "--report-seconds", "1.5") as (url, token):
        cast = Cast()
        with cast.see(cast.acme):
            demo.furnish(cast.acme, cast.olga, helpdesk_url=url, helpdesk_token=token)
        yield cast, f"{hub[1]}/t/{cast.acme.slug}/mcp"


@pytest.fixture
def endpoint(desk: tuple[Cast, str]) -> Endpoint:
    """With a key of its own, so that no test joins another one's report."""
    cast, url = desk
    return Endpoint(url=url, api_key=cast.key(cast.olga)[1])


@asynccontextmanager
async def connected(hub: Endpoint, mode: str, *extensions: ClientExtension) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {hub.api_key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(hub.url, http_client=http), mode=mode, extensions=extensions) as client,
    ):
        yield client


class Progress(list[float]):
    """What a host is told of how far it is, in the order in which it heard it."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        assert total == 1
        self.append(progress)

    @property
    def grows(self) -> bool:
        return len(self) > 1 and list(self) == sorted(set(self))


def text_of(result: types.CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))


def is_report(result: types.CallToolResult) -> bool:
    """The tickets by their status, as the tool gives them."""
    said = result.structured_content or {}
    return not result.is_error and said.get("group_by") == "status" and sum(said["counts"].values()) > 10


class Task(types.Result):
    """CreateTaskResult of the extension."""

    result_type: Literal["task"] = "task"
    task_id: str
    status: str


class DetailedTask(types.Result):
    task_id: str
    status: str
    result: dict[str, Any] | None = None


class ById(types.RequestParams):
    task_id: str


class GetTask(types.Request[ById, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    params: ById
    name_param = "taskId"


class CancelTask(types.Request[ById, Literal["tasks/cancel"]]):
    method: Literal["tasks/cancel"] = "tasks/cancel"
    params: ById
    name_param = "taskId"


@dataclass
class Following(ClientExtension):
    """The tasks extension (SEP-2663) as a host adds it to the client: a call_tool ends with the task's own result."""

    stop: bool = False
    seen: list[str] = field(default_factory=list)
    identifier = EXTENSION

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Task, resolve=self.resolve)]

    async def resolve(self, created: Task, context: ClaimContext) -> types.CallToolResult:
        self.seen.append(created.status)
        if self.stop:
            cancel = CancelTask(params=ById(task_id=created.task_id))
            await context.session.send_request(cancel, types.EmptyResult)
        task = await self._look(created.task_id, context)
        while task.status == "working":
            await anyio.sleep(LOOK)
            task = await self._look(created.task_id, context)
        self.seen.append(task.status)
        return types.CallToolResult.model_validate(task.result or {"content": []})

    async def _look(self, task_id: str, context: ClaimContext) -> DetailedTask:
        return await context.session.send_request(GetTask(params=ById(task_id=task_id)), DetailedTask)


async def test_a_host_with_the_tasks_extension_gets_a_task_and_follows_it_to_its_result(endpoint: Endpoint) -> None:
    following = Following()
    async with connected(endpoint, "auto", following) as client:
        result = await client.call_tool(REPORT, {})
        assert client.protocol_version == "2026-07-28"
    assert following.seen == ["working", "completed"]
    assert is_report(result)


async def test_a_host_with_the_tasks_extension_stops_a_job(endpoint: Endpoint) -> None:
    following = Following(stop=True)
    async with connected(endpoint, "auto", following) as client:
        await client.call_tool(REPORT, {})
    assert following.seen == ["working", "cancelled"]


async def begun(client: Client) -> types.Task:
    """Calls with `task`. The client has the type of the answer, and yet checks every answer to tools/call against
    another one; so this goes below that check."""
    params = types.CallToolRequestParams(name=REPORT, arguments={}, task=types.TaskMetadata(ttl=600_000))
    request = types.CallToolRequest(params=params).model_dump(by_alias=True, mode="json", exclude_none=True)
    options: Any = {}
    client.session._stamp(request, options)
    raw = await client.session._dispatcher.send_raw_request(request["method"], request["params"], options)
    return types.CreateTaskResult.model_validate(raw, by_name=False).task


async def test_a_host_with_core_tasks_gets_a_task_whose_result_it_waits_for(endpoint: Endpoint) -> None:
    progress = Progress()
    async with connected(endpoint, "legacy") as client:
        assert client.protocol_version == "2025-11-25"
        offered = {tool.name: tool for tool in (await client.list_tools()).tools}
        task = await begun(client)
        ask = types.GetTaskRequest(params=types.GetTaskRequestParams(task_id=task.task_id))
        during = await client.session.send_request(ask, types.GetTaskResult)
        wait = types.GetTaskPayloadRequest(params=types.GetTaskPayloadRequestParams(task_id=task.task_id))
        result = await client.session.send_request(wait, types.CallToolResult, progress_callback=progress)
        after = await client.session.send_request(ask, types.GetTaskResult)
        listed = await client.session.send_request(types.ListTasksRequest(), types.ListTasksResult)
    execution = offered[REPORT].execution
    assert execution is not None
    assert execution.task_support == "optional"
    assert (task.status, during.status, after.status) == ("working", "working", "completed")
    assert task.ttl == 600_000
    assert (listed.tasks[0].task_id, listed.tasks[0].status) == (task.task_id, "completed")
    assert is_report(result)
    assert (result.meta or {})[RELATED] == {"taskId": task.task_id}
    assert progress.grows


async def test_a_host_with_core_tasks_stops_a_job(endpoint: Endpoint) -> None:
    async with connected(endpoint, "legacy") as client:
        task = await begun(client)
        stop = types.CancelTaskRequest(params=types.CancelTaskRequestParams(task_id=task.task_id))
        stopped = await client.session.send_request(stop, types.CancelTaskResult)
        wait = types.GetTaskPayloadRequest(params=types.GetTaskPayloadRequestParams(task_id=task.task_id))
        with pytest.raises(MCPError):
            await client.session.send_request(wait, types.CallToolResult)
    assert stopped.status == "cancelled"


@pytest.fixture(params=["2025-03-26", "2025-06-18", "2025-11-25"])
def older(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A client that knows nothing newer, and no tasks."""
    monkeypatch.setattr("mcp.client.session.LATEST_HANDSHAKE_VERSION", request.param)
    return str(request.param)


async def test_a_model_in_any_other_host_follows_a_job_with_the_job_tools(endpoint: Endpoint, older: str) -> None:
    progress = Progress()
    async with connected(endpoint, "legacy") as client:
        assert client.protocol_version == older
        offered = {tool.name for tool in (await client.list_tools()).tools}
        handle = await client.call_tool(REPORT, {})
        job = (handle.structured_content or {})["job_id"]
        ended = await client.call_tool("get_job_status", {"job_id": job}, progress_callback=progress)
        again = await client.call_tool("get_job_result", {"job_id": job})
    assert {REPORT, "get_job_status", "get_job_result", "cancel_job"} <= offered
    assert not handle.is_error
    assert "get_job_status" in text_of(handle)
    assert job in text_of(handle)
    assert progress.grows
    assert (ended.structured_content or {})["status"] == "succeeded"
    assert text_of(again) in text_of(ended)
    assert is_report(again)


async def test_a_model_stops_a_job(endpoint: Endpoint) -> None:
    async with connected(endpoint, "legacy") as client:
        job = ((await client.call_tool(REPORT, {})).structured_content or {})["job_id"]
        await client.call_tool("cancel_job", {"job_id": job})
        ended = await client.call_tool("get_job_status", {"job_id": job})
    assert (ended.structured_content or {})["status"] == "cancelled"


async def test_the_same_call_again_joins_the_job_and_both_get_its_result(endpoint: Endpoint) -> None:
    """As a host does that timed out: by another way, while it runs and once it has ended."""
    async with connected(endpoint, "legacy") as client:
        job = ((await client.call_tool(REPORT, {})).structured_content or {})["job_id"]
        again = ((await client.call_tool(REPORT, {})).structured_content or {})["job_id"]
        task = await begun(client)
        await client.call_tool("get_job_status", {"job_id": job})
        later = await begun(client)
    assert {job, again, task.task_id, later.task_id} == {job}
    assert later.status == "completed"
