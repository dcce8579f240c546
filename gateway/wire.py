"""Everything that reaches into the SDK's less public modules, in one small file: one request in, its result out.

The SDK carries the protocol (validation per revision, the envelope's rules, results shaped for the caller's
revision). What it leaves out is its own HTTP transport, whose task group per request costs more than a whole call.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio
from mcp.server.connection import Connection
from mcp.server.lowlevel.server import Server
from mcp.server.models import InitializationOptions
from mcp.server.runner import ServerRunner
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    InboundLadderRejection,
    InboundModernRoute,
    classify_inbound_request,
    decode_header_value,
    find_duplicated_routing_header,
    unsupported_protocol_version_rejection,
    validate_mcp_param_headers,
)
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import HEADER_MISMATCH, SERVER_INFO_META_KEY
from mcp_types.methods import serialize_server_result
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from gateway.errors import INTERNAL_ERROR, INVALID_PARAMS, Fault
from gateway.visit import Notify, Visit

log = logging.getLogger(__name__)

Headers = Mapping[str, str]

HANDSHAKE = frozenset(HANDSHAKE_PROTOCOL_VERSIONS)
MODERN = tuple(MODERN_PROTOCOL_VERSIONS)
VERSION_HEADER = "mcp-protocol-version"
_METHOD_HEADER = "mcp-method"
_NAME_HEADER = "mcp-name"
BATCH_VERSION = "2025-03-26"
"""The one revision with JSON-RPC batches, and the one a missing version header stands for."""
_TRANSPORT = TransportContext(kind="streamable-http", can_send_request=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Era:
    """What is known of the peer before its request is served."""

    version: str
    client_info: Any = None
    capabilities: Any = None

    @property
    def modern(self) -> bool:
        return self.version not in HANDSHAKE


@dataclass(slots=True)
class _Exchange:
    """The SDK's dispatch context for one HTTP exchange: notifications go out, requests to the client cannot."""

    request_id: Any
    message_metadata: ServerMessageMetadata
    notify_client: Notify
    progress_token: Any = None
    transport: TransportContext = _TRANSPORT
    can_send_request: bool = False

    @property
    def cancel_requested(self) -> anyio.Event:
        """Never set: here cancellation reaches a handler as cancellation."""
        return anyio.Event()

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = dict(params)
        await self.notify_client(message)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if self.progress_token is None:
            return
        await self.notify("notifications/progress", progress_params(self.progress_token, progress, total, message))


def progress_params(token: Any, progress: float, total: float | None, message: str | None) -> dict[str, Any]:
    """The params of `notifications/progress` (MCP basic/utilities/progress)."""
    params = {"progressToken": token, "progress": progress, "total": total, "message": message}
    return {name: value for name, value in params.items() if value is not None}


def classify(body: Mapping[str, Any], headers: Headers) -> Era:
    """The envelope of a 2026-07-28 request, checked against its headers (basic/transports, "Standard headers")."""
    verdict = classify_inbound_request(body, headers=headers)
    if isinstance(verdict, InboundModernRoute):
        return Era(
            version=verdict.protocol_version,
            client_info=verdict.client_info,
            capabilities=verdict.client_capabilities,
        )
    raise _fault(verdict)


def check_version(version: str) -> None:
    """Raise the Fault (-32022, with what is served) for a version header that names no revision we speak."""
    rejection = unsupported_protocol_version_rejection(version)
    if rejection is not None:
        raise _fault(rejection)


def check_duplicates(lines: list[tuple[str, str]]) -> None:
    """Raise the Fault (-32020) when a routing header was sent twice."""
    if (name := find_duplicated_routing_header(lines)) is not None:
        raise Fault(code=HEADER_MISMATCH, message=f"{name} header appears more than once")


def check_method(method: str, headers: Headers) -> None:
    """Raise the Fault (-32020) when a notification's `Mcp-Method` is not its method.

    The SDK holds requests to it, and notifications not at all; so a client that leaves it out there keeps working.
    """
    if headers.get(_METHOD_HEADER, method) != method:
        raise Fault(code=HEADER_MISMATCH, message="The Mcp-Method header does not match the method of the body.")


def check_name(name: str, headers: Headers) -> None:
    """Raise the Fault (-32020) unless `Mcp-Name` is that name; for methods that the SDK does not know."""
    if decode_header_value(headers.get(_NAME_HEADER)) != name:
        raise Fault(code=HEADER_MISMATCH, message="The Mcp-Name header does not match the body.")


def check_parameter_headers(
    schema: Mapping[str, Any], arguments: Mapping[str, Any], headers: Headers, lines: list[tuple[str, str]]
) -> None:
    """Raise the Fault (-32020) when a `Mcp-Param-*` header and the argument it mirrors differ, or it was sent twice.

    lines: the headers as they came, since `headers` no longer shows that one came twice.
    """
    sent = [name for name, _ in lines if name.startswith("mcp-param-")]
    if len(sent) != len(set(sent)):
        raise Fault(code=HEADER_MISMATCH, message="an Mcp-Param header appears more than once")
    rejection = validate_mcp_param_headers(schema, arguments, headers)
    if rejection is not None:
        raise _fault(rejection)


async def serve(
    server: Server[Any],
    era: Era,
    message: Mapping[str, Any],
    *,
    visit: Visit,
    identity: InitializationOptions,
) -> dict[str, Any]:
    """Serve one JSON-RPC request through the SDK and return its result, shaped for the caller's revision.

    visit: what handlers find as `ctx.request`; its `notify` carries their notifications. identity: who the tenant's
    server says it is.
    Raises Fault, and lets cancellation through.
    """
    connection = Connection.from_envelope(era.version, era.client_info, era.capabilities)
    params = message.get("params")
    exchange = _Exchange(
        request_id=message["id"],
        message_metadata=ServerMessageMetadata(request_context=visit),
        notify_client=visit.notify,
        progress_token=progress_token_from_params(params),
    )
    runner: ServerRunner[Any] = ServerRunner(server, connection, {}, init_options=identity)
    try:
        result = await runner.on_request(exchange, message["method"], params)
    except (MCPError, ValidationError) as problem:
        raise _translated(problem, modern=era.modern) from None
    return stamped(result, era, identity)


def stamped(result: dict[str, Any], era: Era, identity: InitializationOptions) -> dict[str, Any]:
    """The result with who answered, which 2026-07-28 wants on every one."""
    if era.modern:
        result["_meta"] = {**result.get("_meta", {}), SERVER_INFO_META_KEY: server_info(identity)}
    return result


def server_info(identity: InitializationOptions) -> dict[str, str]:
    """Who the tenant's server is, as results of 2026-07-28 carry it."""
    info = {"name": identity.server_name, "version": identity.server_version}
    return {**info, "title": identity.title} if identity.title else info


def shaped(method: str, version: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """A result as `version` spells it, for the ones that are built once and sent many times."""
    return serialize_server_result(method, version, result)


def _fault(rejection: InboundLadderRejection) -> Fault:
    status = ERROR_CODE_HTTP_STATUS.get(rejection.code, 200)
    return Fault(code=rejection.code, message=rejection.message, data=rejection.data, status=status)


def _translated(problem: MCPError | ValidationError, *, modern: bool) -> Fault:
    """Older revisions answer JSON-RPC errors with HTTP 200; 2026-07-28 has a status for each code."""
    if isinstance(problem, ValidationError):
        first = problem.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:200]
        code, text, data = INVALID_PARAMS, f"Invalid request parameters: {where}: {first['msg']}"[:500], None
    else:
        code, text, data = problem.error.code, problem.error.message, problem.error.data
        if isinstance(data, str):
            data = data[:200]  # it repeats what the client sent
    if code == INTERNAL_ERROR:
        log.error("the SDK could not serve a request: %s", text)
    return Fault(code=code, message=text, data=data, status=ERROR_CODE_HTTP_STATUS.get(code, 200) if modern else 200)
