"""Hosts that insist: a call whose answer never came is made again with the same arguments, until a job is promised."""

import asyncio
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp

from tests.host import MODERN

TASKS = "io.modelcontextprotocol/tasks"
_OLDER = "2025-06-18"
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PATIENCE_SECONDS = 10.0
_PAUSE_SECONDS = 0.1
_ids = itertools.count(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """One call that a host wants done. number: what its side effect writes; declared: the host follows tasks."""

    number: int
    tool: str
    seconds: float
    slug: str
    key: str
    declared: bool

    @property
    def idempotent(self) -> bool:
        return self.tool == "again"

    @property
    def call(self) -> dict[str, Any]:
        return {"name": self.tool, "arguments": {"number": self.number, "seconds": self.seconds}}


@dataclass
class Hosts:
    """All hosts together, and what they were told.

    promised: the job of each wish, by its number. surprises: what no host should ever be told. tries: POSTs, those
    without an answer included.
    """

    servers: list[str]
    random: Random
    promised: dict[int, str] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)
    tries: int = 0

    async def insist(self, session: aiohttp.ClientSession, wish: Wish) -> None:
        """Ask one server after another until one promises a job; then ask another one for it, which must know it."""
        message = None
        while message is None:
            message = await self._ask(session, wish, "tools/call", wish.call)
        job = job_of(message)
        if job is None:
            self.surprises.append(f"call {wish.number} was answered {str(message)[:300]}")
            return
        self.promised[wish.number] = job
        if wish.declared and "error" in (await self._ask(session, wish, "tasks/get", {"taskId": job}) or {}):
            self.surprises.append(f"job {job} was promised by one server and unknown to another")

    async def outcome(self, session: aiohttp.ClientSession, wish: Wish) -> str | None:
        """The text of the result that the hub has for a wish; None when it has none."""
        answer = await self._ask(session, wish, "tasks/get", {"taskId": self.promised[wish.number]}) or {}
        content = answer.get("result", {}).get("result", {}).get("content") or [{}]
        text: str | None = content[0].get("text")
        return text

    async def _ask(
        self, session: aiohttp.ClientSession, wish: Wish, method: str, params: dict[str, Any]
    ) -> dict[str, Any] | None:
        """The JSON-RPC answer of any server; None when none came, or one that says to come again."""
        self.tries += 1
        revision = MODERN if wish.declared or method != "tools/call" else _OLDER
        body = {"jsonrpc": "2.0", "id": next(_ids), "method": method, "params": _enveloped(params, revision)}
        headers = _headers(wish.key, revision, method, params)
        url = f"{self.random.choice(self.servers)}/t/{wish.slug}/mcp"
        try:
            async with session.post(url, json=body, headers=headers) as response:
                if response.status >= 500:
                    return await _nothing()
                message: dict[str, Any] = await response.json()
        except (aiohttp.ClientError, TimeoutError):
            return await _nothing()
        return await _nothing() if _come_again(message) else message


async def _nothing() -> dict[str, Any] | None:
    """No answer that counts; who asks again does so after a moment."""
    await asyncio.sleep(_PAUSE_SECONDS)
    return None


def job_of(message: Mapping[str, Any]) -> str | None:
    """The job that an answer to tools/call promises, in the words of either kind of host."""
    result = message.get("result", {})
    if "taskId" in result:
        return str(result["taskId"])
    if result.get("isError"):
        return None
    found = _ID.search(str(result.get("structuredContent") or result.get("content")))
    return found[0] if found else None


def _come_again(message: Mapping[str, Any]) -> bool:
    """A fault of the hub, or a refusal that may be tried again, as while Postgres is away."""
    if "error" in message:
        return bool(message["error"]["code"] == -32603)
    result = message.get("result", {})
    return bool(result.get("isError")) and "retr" in str(result).lower()


def _enveloped(params: dict[str, Any], revision: str) -> dict[str, Any]:
    if revision != MODERN:
        return params
    said = {
        "protocolVersion": MODERN,
        "clientInfo": {"name": "insistent-host", "version": "1"},
        "clientCapabilities": {"extensions": {TASKS: {}}},
    }
    return {**params, "_meta": {f"io.modelcontextprotocol/{name}": value for name, value in said.items()}}


def _headers(key: str, revision: str, method: str, params: Mapping[str, Any]) -> dict[str, str]:
    headers = {
        "accept": "application/json, text/event-stream",
        "authorization": f"Bearer {key}",
        "mcp-protocol-version": revision,
    }
    if revision == MODERN:
        headers |= {"mcp-method": method, "mcp-name": str(params.get("name") or params.get("taskId"))}
    return headers


def connected() -> aiohttp.ClientSession:
    """A session whose requests give up as hosts do. No connection is kept, as servers are killed under it."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=_PATIENCE_SECONDS), connector=aiohttp.TCPConnector(force_close=True)
    )
