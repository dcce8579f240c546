"""Hosts that run as processes of their own and find their way from a tenant's URL to a token, asking a person."""

from __future__ import annotations

import itertools
import json
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import httpx2

from tests.conformance import node
from tests.waiting import until

Visit = Callable[[str], str]
"""What a person does with an authorization URL: returns where their browser ended up."""

AUTHORIZED: Final = Path(__file__).with_name("authorized.mjs")
REMOTE: Final = Path("mcp-remote", "dist", "proxy.js")
REDIRECT: Final = "http://127.0.0.1:33418/callback"
"""Where the TypeScript host waits. Nothing listens there: the person hands the answer over."""
PATIENCE: Final = 40.0
"""Seconds after which a host that is stuck is ended, so that the test fails rather than hangs."""


@contextmanager
def _running(line: list[str], environment: dict[str, str], stderr: Any) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(line, env=environment, stdin=pipe, stdout=pipe, stderr=stderr, text=True) as process:
        stuck = threading.Timer(PATIENCE, process.kill)
        stuck.start()
        try:
            yield process
        finally:
            stuck.cancel()
            with suppress(OSError):
                _pipe(process.stdin).close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(2)
            process.kill()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@dataclass
class TypeScriptHost:
    """A program built on the official TypeScript client; see authorized.mjs for what it says."""

    process: subprocess.Popen[str]
    said: IO[str]
    visit: Visit
    visits: list[str] = field(default_factory=list)
    scope: str | None = None

    def list_tools(self) -> list[str]:
        return [tool["name"] for tool in self._ask({"list": True})["answer"]["tools"]]

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The tool's result as the program sees it."""
        answer: dict[str, Any] = self._ask({"call": tool, "arguments": arguments})["answer"]
        return answer

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        self._say(question)
        while "visit" in (heard := self._hear()):
            self.visits.append(heard["visit"])
            self._say({"callback": self.visit(heard["visit"])})
        assert "answer" in heard, heard
        self.scope = heard.get("scope")
        return heard

    def _say(self, message: dict[str, Any]) -> None:
        pipe = _pipe(self.process.stdin)
        with suppress(BrokenPipeError):  # it ended; `_hear` says why
            pipe.write(f"{json.dumps(message)}\n")
            pipe.flush()

    def _hear(self) -> dict[str, Any]:
        line = _pipe(self.process.stdout).readline()
        if not line:
            self.process.wait(10)
            self.said.seek(0)
            raise AssertionError(f"The host ended: {self.said.read()[-2000:]}")
        heard: dict[str, Any] = json.loads(line)
        return heard


@contextmanager
def typescript(
    package: str, revision: str, url: str, visit: Visit, *, metadata_url: str = ""
) -> Iterator[TypeScriptHost]:
    """package: `sdk` (v1) or `client` (v2). Without a metadata document's URL it registers itself."""
    node.install()
    line = node.command(AUTHORIZED, package, revision, REDIRECT, *([metadata_url] if metadata_url else []))
    with (
        tempfile.TemporaryFile("w+") as said,
        _running(line, node.environment(MCPHUB_URL=url), said) as process,
    ):
        yield TypeScriptHost(process=process, said=said, visit=visit)


@dataclass
class McpRemote:
    """mcp-remote, which hosts without OAuth of their own put between themselves and the hub, at 2025-11-25."""

    process: subprocess.Popen[str]
    visit: Visit
    visits: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def initialize(self) -> dict[str, Any]:
        """The handshake, as the host behind it does it; only then does anything else pass."""
        client = {"name": "host-behind-mcp-remote", "version": "1"}
        parameters = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
        result = self.request("initialize", parameters)
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return result

    def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result of one request; requests and notifications from the other side are passed over."""
        number = next(self._ids)
        self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        for line in _pipe(self.process.stdout):
            message = json.loads(line)
            if message.get("id") == number and "method" not in message:
                assert "result" in message, (message, self.log)
                result: dict[str, Any] = message["result"]
                return result
        raise AssertionError("mcp-remote ended:\n" + "\n".join(self.log[-30:]))

    def _send(self, message: dict[str, Any]) -> None:
        pipe = _pipe(self.process.stdin)
        pipe.write(f"{json.dumps(message)}\n")
        pipe.flush()

    def look_after(self) -> None:
        """Read what it says to people, and follow every link it asks them to visit."""
        asked = False
        for line in _pipe(self.process.stderr):
            self.log.append(line.rstrip())
            if asked:
                self._follow(line.strip())
            asked = line.startswith("Please authorize this client by visiting")

    def _follow(self, url: str) -> None:
        self.visits.append(url)
        try:
            answer = self.visit(url)
        except Exception as problem:
            self.log.append(f"The person could not: {problem!r}")
            self.process.kill()
            raise
        until(lambda: _delivered(answer))


def _delivered(answer: str) -> bool:
    """It names the link before it listens for the answer, which a person never notices."""
    try:
        return httpx2.get(answer, timeout=10).is_success
    except httpx2.ConnectError:
        return False


@contextmanager
def mcp_remote(url: str, visit: Visit, folder: Path) -> Iterator[McpRemote]:
    """folder: where it keeps its registration and tokens."""
    line = node.command(node.install() / REMOTE, url, "--allow-http", "--transport", "http-only", "--host", "127.0.0.1")
    # It opens a browser by itself, which here must be none.
    quiet = {"MCP_REMOTE_CONFIG_DIR": str(folder), "BROWSER": "/bin/true", "PATH": str(node.NODE.parent)}
    with _running(line, node.environment() | quiet, subprocess.PIPE) as process:
        remote = McpRemote(process=process, visit=visit)
        reader = threading.Thread(target=remote.look_after)
        reader.start()
        try:
            yield remote
        finally:
            process.terminate()
            reader.join(10)
