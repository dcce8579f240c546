"""A host that follows jobs as tasks, and a hand that moves their rows as a worker would."""

import contextlib
import json
import queue
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2

from jobs.asking import asked_inputs
from jobs.models import Allowance
from tenants.models import Tenant
from tests.cast import Cast
from tests.host import MODERN, Answer, Host
from tests.jobs import front
from tests.postgres import as_app
from tools.models import Tool
from tools.values import Result

EXTENSION = "io.modelcontextprotocol/tasks"
CORE = "2025-11-25"
_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
DECLARED: dict[str, Any] = {_CAPABILITIES: {"extensions": {EXTENSION: {}}, "elicitation": {}}}
UNDECLARED: dict[str, Any] = {_CAPABILITIES: {}}
SOON = 30.0


@dataclass(frozen=True)
class Row:
    """A job by its id, for the helpers that act on one."""

    id: uuid.UUID


def job_of(task: dict[str, Any]) -> Row:
    return Row(uuid.UUID(task["taskId"]))


def lasting(cast: Cast, name: str = "echo", tenant: Tenant | None = None, *, run: bool = False, **fields: Any) -> Tool:
    """A tool, of acme's, that runs as a job. run: whether workers may take its jobs; else the test is the worker."""
    tenant = tenant or cast.acme
    if not run:
        with cast.see(tenant):
            Allowance.objects.update_or_create(tenant=tenant, defaults={"running": 0})
    return cast.tool(tenant, name, **{"runs": "background", **fields})


def follow(host: Host, method: str, params: dict[str, Any], meta: dict[str, Any] = DECLARED, **headers: str) -> Answer:
    """A request of a host of 2026-07-28 that declares the extension; of a task, with its id in the header."""
    named = {"mcp_name": params["taskId"]} if isinstance(params.get("taskId"), str) else {}
    return host.request(method, {**params, "_meta": meta}, **{**named, **headers})


def start(host: Host, name: str = "echo", **arguments: Any) -> dict[str, Any]:
    """A task on 2026-07-28, or on 2025-11-25, that waits for a worker."""
    params = {"name": name, "arguments": arguments or {"text": "hello"}}
    if host.revision == MODERN:
        return dict(follow(host, "tools/call", params).result)
    return dict(host.request("tools/call", {**params, "task": {}}).result["task"])


def get(host: Host, task: dict[str, Any]) -> dict[str, Any]:
    if host.revision == MODERN:
        return dict(follow(host, "tasks/get", {"taskId": task["taskId"]}).result)
    return dict(host.request("tasks/get", {"taskId": task["taskId"]}).result)


def end(task: dict[str, Any], state: str = "succeeded", result: Result | None = front.DONE, **how: Any) -> None:
    front.end(job_of(task), state, result, **how)  # type: ignore[arg-type] # it needs no more than the id


def claim(task: dict[str, Any]) -> int:
    return front.claim(job_of(task))  # type: ignore[arg-type] # the same


def change(task: dict[str, Any], assignment: str, *parameters: Any) -> None:
    front.change(job_of(task).id, assignment, *parameters)


def asks(task: dict[str, Any], **messages: str) -> None:
    """The job is taken and asks for a name under each key."""
    claim(task)
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    asked = {key: {"message": message, "requestedSchema": schema} for key, message in messages.items()}
    change(task, "state = 'input_required', inputs = %s", asked_inputs(asked))


def tell(cast: Cast, task: dict[str, Any], **news: Any) -> bool:
    """News of a job, as its worker publishes them. False, for loops that tell until they are heard."""
    with as_app() as conn:
        payload = json.dumps({"t": cast.acme.pk, "j": task["taskId"], **news})
        conn.execute("SELECT pg_notify('mcphub', %s)", [payload])
    return False


@contextlib.contextmanager
def waiting(host: Host, method: str, params: dict[str, Any], **headers: str) -> Iterator[list[Answer]]:
    """A request in the background; its answer is in the list after the block."""
    got: list[Answer] = []
    thread = threading.Thread(target=lambda: got.append(host.request(method, params, **headers)))
    thread.start()
    yield got
    thread.join(30)
    assert not thread.is_alive()


class Frames:
    """The messages of a stream, as they come."""

    def __init__(self) -> None:
        self.comments: queue.Queue[str] = queue.Queue()
        self._came: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def put(self, frame: dict[str, Any] | None) -> None:
        self._came.put(frame)

    def next(self) -> dict[str, Any]:
        frame = self._came.get(timeout=SOON)
        assert frame is not None, "the stream has ended"
        return frame

    def told(self) -> tuple[str, dict[str, Any]]:
        frame = self.next()
        return frame["method"], frame["params"]

    def waiting(self) -> bool:
        return not self._came.empty()

    def all(self) -> list[dict[str, Any] | None]:
        """What has come so far and was not taken; None last when the stream has ended."""
        return list(self._came.queue)

    def ended(self) -> bool:
        return self._came.get(timeout=SOON) is None


@contextlib.contextmanager
def streaming(host: Host, method: str, params: dict[str, Any], **headers: str) -> Iterator[Frames]:
    """A request whose frames are read as they come; at the end of the block its host goes away."""
    body = {"jsonrpc": "2.0", "id": "stream", "method": method, "params": host._params(params)}
    sent = {**host.headers(), **host._routing(method, params), **headers}
    sent = {name.replace("_", "-"): value for name, value in sent.items()}
    with _reading("POST", host.url, json=body, headers=sent) as frames:
        yield frames


@contextlib.contextmanager
def hearing(host: Host, **headers: str) -> Iterator[Frames]:
    """The stream that a host of an older revision opens by GET, once it is open; without other headers, right after it
    has initialized."""
    sent = host.headers() | {"accept": "text/event-stream"}
    sent |= {name.replace("_", "-"): value for name, value in (headers or {"mcp_session_id": session(host)}).items()}
    with _reading("GET", host.url, headers=sent) as frames:
        assert frames.comments.get(timeout=SOON) == ": open"
        yield frames


def session(host: Host) -> str:
    """The id that initialize gives out."""
    client = {"name": "test-host", "version": "1"}
    params = {"protocolVersion": host.revision, "capabilities": {}, "clientInfo": client}
    return host.request("initialize", params).headers["mcp-session-id"]


@contextlib.contextmanager
def _reading(method: str, url: str, **request: Any) -> Iterator[Frames]:
    frames = Frames()

    def read(lines: Iterator[str]) -> None:
        with contextlib.suppress(httpx2.HTTPError, httpx2.StreamError):
            for line in lines:
                if line.startswith("data: "):
                    frames.put(json.loads(line[6:]))
                elif line.startswith(":"):
                    frames.comments.put(line)
        frames.put(None)

    def ask() -> None:
        with (
            contextlib.suppress(httpx2.HTTPError, httpx2.StreamError),
            httpx2.Client(timeout=30) as client,
            client.stream(method, url, **request) as response,
        ):
            opened.put(response.extensions["network_stream"].get_extra_info("socket"))
            read(response.iter_lines())

    opened: queue.Queue[socket.socket] = queue.Queue()
    reader = threading.Thread(target=ask)
    reader.start()
    try:
        yield frames
    finally:
        with contextlib.suppress(OSError):  # it has ended already
            opened.get(timeout=SOON).shutdown(socket.SHUT_RDWR)
        reader.join(SOON)
        assert not reader.is_alive()


def listening(
    host: Host, notifications: dict[str, Any], meta: dict[str, Any] = DECLARED
) -> contextlib.AbstractContextManager[Frames]:
    return streaming(host, "subscriptions/listen", {"notifications": notifications, "_meta": meta})
