"""A host on the Python SDK that knows nothing but a tenant's URL: the SDK finds the rest, and asks a person."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp.client.auth import OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from mcp_types import CallToolResult
from pydantic import AnyUrl

from tests.clients.hosts import Visit

REDIRECT: Final = "http://localhost:33419/callback"


@dataclass
class Memory:
    """What the host remembers between runs: its registration and its tokens."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info

    @property
    def scopes(self) -> set[str]:
        return set((self.tokens.scope or "").split()) if self.tokens else set()


@dataclass
class Browser:
    """Where the SDK sends its person, and what came back of it."""

    visit: Visit
    visits: list[str] = field(default_factory=list)
    answer: str = ""

    async def open(self, url: str) -> None:
        self.visits.append(url)
        self.answer = await anyio.to_thread.run_sync(self.visit, url)

    async def answered(self) -> AuthorizationCodeResult:
        said = {name: values[0] for name, values in parse_qs(urlsplit(self.answer).query).items()}
        return AuthorizationCodeResult(code=said.get("code", ""), state=said.get("state"), iss=said.get("iss"))


def provider(url: str, browser: Browser, memory: Memory, *, metadata_url: str | None = None) -> OAuthClientProvider:
    """The SDK's own way to a token. Without a metadata document's URL it registers itself."""
    described = OAuthClientMetadata(client_name="Python test host", redirect_uris=[AnyUrl(REDIRECT)])
    return OAuthClientProvider(url, described, memory, browser.open, browser.answered, metadata_url)


@dataclass
class PythonHost:
    """A program built on the Python SDK, which runs on an event loop of its own."""

    portal: BlockingPortal
    client: Client

    def list_tools(self) -> list[str]:
        return [tool.name for tool in self.portal.call(self.client.list_tools).tools]

    def call(self, tool: str, **arguments: Any) -> CallToolResult:
        """The tool's result as the program sees it."""
        result: CallToolResult = self.portal.call(self.client.call_tool, tool, arguments)
        return result


@contextmanager
def connected(url: str, auth: httpx2.Auth, *, mode: str = "auto") -> Iterator[PythonHost]:
    """An MCP session at the tenant's URL that authorizes itself by `auth`. mode: `legacy`, `auto` or a revision."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_session(url, auth, mode)) as client:
        yield PythonHost(portal, client)


@asynccontextmanager
async def _session(url: str, auth: httpx2.Auth, mode: str) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(auth=auth, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client
