"""The door: HTTP at `/t/<slug>/mcp`. Lets in or turns away, then hands each JSON-RPC message to the SDK.

MCP basic/transports (Streamable HTTP) for every revision from 2025-03-26 to 2026-07-28, with nothing kept between
requests: each carries what it needs, so any worker serves any request.
"""

import asyncio
import logging
import re
from collections.abc import MutableMapping
from typing import Any

import anyio
import orjson
from mcp.server.models import InitializationOptions

from access import challenge, turned_away
from access.admit import Door, Stopped, admit
from access.head import Head
from gateway import listen, lists, request, running, server, session, tasks, tool_calls, translate, wire
from gateway.errors import INTERNAL_ERROR, INVALID_REQUEST, UNAVAILABLE, Fault
from gateway.reply import Headers, Receive, Reply, Send
from gateway.visit import Visit
from lib import db
from policy.values import Refusal
from tenants.caller import Caller
from tools.catalog import Catalog, catalog, working_scopes

log = logging.getLogger(__name__)

_ALLOWED = b"POST, GET, HEAD, OPTIONS"
_PARAMETER = re.compile(r"mcp-param-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.IGNORECASE)


async def door(scope: MutableMapping[str, Any], receive: Receive, send: Send, slug: str) -> None:
    """Answer one HTTP request at a tenant's endpoint."""
    head = Head.of(scope)
    cors: Headers = []
    try:
        cors = request.check_peer(head)
        if head.method == "OPTIONS":
            await _send(send, 204, b"", [*cors, *_preflight(head)])
            return
        entered = await _enter(head, slug)
        if head.method != "POST":
            await _hear(entered, head, receive, send, cors)
            return
        body = await request.read_body(head, receive)
        await _answer(entered, head, body, receive, send, cors)
    except Exception as problem:
        await _send_fault(send, _fault_of(problem, slug), cors)


async def _enter(head: Head, slug: str) -> tuple[Caller, Catalog]:
    """Whoever the credential stands for and what their tenant offers, or the Fault for strangers (404, 400, 401)."""
    misplaced = head.misplaced()
    secret = None if misplaced else head.secret()
    found = await admit(slug, secret, address=head.address)
    if found is None:
        raise Fault(code=INVALID_REQUEST, message="There is nothing here.", status=404)
    if misplaced:
        raise await _malformed(found, head, *misplaced)
    if found.caller is None:
        raise await _unauthorized(found, head, presented=secret is not None)
    return found.caller, await catalog(found.tenant_id, found.catalog_version)


async def _malformed(found: Door, head: Head, reason: str, says: str) -> Fault:
    await turned_away.record(found.tenant_id, reason, head.address)
    challenged = {"WWW-Authenticate": challenge.malformed(found.slug, says)}
    return Fault(code=INVALID_REQUEST, message=says, status=400, headers=challenged)


async def _unauthorized(found: Door, head: Head, *, presented: bool) -> Fault:
    if presented:
        await turned_away.record_unknown(found, head.address)
    wanted = await working_scopes(found.tenant_id, found.catalog_version)
    reason = "unknown_credential" if presented else "no_credential"
    says = "The credential is not valid here." if presented else "Send a credential as Authorization: Bearer."
    fault = translate.fault(Refusal(reason=reason, message=says), INVALID_REQUEST, 401)
    fault.headers["WWW-Authenticate"] = challenge.unauthorized(found.slug, wanted, presented=presented)
    return fault


async def _hear(entered: tuple[Caller, Catalog], head: Head, receive: Receive, send: Send, cors: Headers) -> None:
    """The stream that hosts of older revisions open by GET. Once it is open, whatever goes wrong just ends it."""
    version = listen.heard_in(head)
    reply = Reply(receive, send, extra=cors, streaming=True, cancels=True)
    visit = _visit(entered, head, reply)
    with reply:
        try:
            await listen.hear(visit, version, reply)
        except Exception as problem:
            fault = _fault_of(problem, visit.caller.tenant_slug)
            if not reply.started:
                await _finish_fault(reply, visit, fault, None)
                return
    await reply.end()


def _visit(entered: tuple[Caller, Catalog], head: Head, reply: Reply) -> Visit:
    caller, offered = entered
    return Visit(
        caller=caller,
        catalog=offered,
        headers=head.headers,
        address=head.address,
        notify=reply.notify,
        secret=head.secret,
    )


async def _answer(
    entered: tuple[Caller, Catalog], head: Head, body: Any, receive: Receive, send: Send, cors: Headers
) -> None:
    version = request.era_of(head, body)
    cancels = version is None or _only_waits(body)
    reply = Reply(receive, send, extra=cors, streaming=head.streaming, cancels=cancels)
    visit = _visit(entered, head, reply)
    with reply:
        batch = request.messages(body, version)
        if batch is not None:
            answers = await asyncio.gather(*(_in_batch(visit, head, message) for message in batch))
            wanted = [answer for answer in answers if answer is not None]
            await _finish(reply, b"[" + b",".join(wanted) + b"]" if wanted else None)
            return
        try:
            answer = await _serve(visit, head, body, version, reply.scope)
        except Exception as problem:
            fault = _fault_of(problem, visit.caller.tenant_slug)
            await _finish_fault(reply, visit, fault, request.id_of(body))
            return
        begun = version is not None and answer is not None and body["method"] == "initialize"
        await _finish(reply, answer, session.given(visit, body["params"].get("protocolVersion")) if begun else None)
    if reply.scope.cancelled_caught:
        await reply.end(unanswered=True)


async def _in_batch(visit: Visit, head: Head, message: Any) -> bytes | None:
    """One message of a 2025-03-26 batch; its fault is its own answer, and its cancellation its own too."""
    with anyio.CancelScope() as scope:
        try:
            _check_batched(message)
            return await _serve(visit, head, message, wire.BATCH_VERSION, scope)
        except Exception as problem:
            return orjson.dumps(_fault_of(problem, visit.caller.tenant_slug).body(request.id_of(message)))
    return None


def _check_batched(message: Any) -> None:
    if isinstance(message, dict) and message.get("method") == "initialize":
        raise Fault(code=INVALID_REQUEST, message="initialize must not be part of a batch.")


async def _serve(visit: Visit, head: Head, message: Any, version: str | None, scope: anyio.CancelScope) -> bytes | None:
    """The JSON-RPC response to one message, or None when it gets none.

    version: None for 2026-07-28 or unknown. scope: what a `notifications/cancelled` for this message cancels.
    """
    sort = request.check_message(message)
    if sort != "request":
        if version is None:
            _check_modern_notification(sort, head, message)
        elif sort == "notification":
            running.cancel(visit, message)
        return None
    era = wire.Era(version=version) if version is not None else _modern_era(visit, head, message)
    identity = server.identity(visit.catalog)
    if message["method"] == "tools/list" and _plain(message.get("params") or {}):
        return _response(message["id"], lists.rendered(visit, era.version, identity))
    with running.entered(visit, message, scope, cancellable=not era.modern):
        result = await _result(visit, era, message, identity)
    return _response(message["id"], orjson.dumps(result))


async def _result(
    visit: Visit, era: wire.Era, message: dict[str, Any], identity: InitializationOptions
) -> dict[str, Any]:
    try:
        if tool_calls.is_plain(message):
            return wire.stamped(await tool_calls.call(visit, era.version, message["params"]), era, identity)
        params = message.get("params") or {}
        if follows := tasks.handler(era, message["method"]):
            tasks.look(visit.caller)
            return wire.stamped(await follows(visit, era, params), era, identity)
        if message["method"] == listen.METHOD and era.modern:
            return wire.stamped(await listen.listen(visit, era, message), era, identity)
        if message["method"] == "initialize":
            identity = server.identity(visit.catalog, asked=str(params.get("protocolVersion")))
        return await wire.serve(server.server(), era, message, visit=visit, identity=identity)
    except Fault as fault:
        # Before 2026-07-28 an error of the JSON-RPC layer is an answer like any other to HTTP.
        if fault.status in (400, 429) and not era.modern:
            fault.status = 200
        raise


def _modern_era(visit: Visit, head: Head, message: dict[str, Any]) -> wire.Era:
    wire.check_duplicates(head.lines)
    era = wire.classify(message, head.headers)
    params = message["params"]
    if message["method"] != "tools/call":
        tasks.check_name(message["method"], params, head.headers)
        listen.check_stream(message["method"], head)
    elif isinstance(params.get("name"), str):
        tool = visit.catalog.tools.get(params["name"])
        arguments = params.get("arguments") or {}
        if tool is not None and tool.mirrored and isinstance(arguments, dict) and lists.shows(visit, tool):
            wire.check_parameter_headers(tool.manifest["inputSchema"], arguments, head.headers, head.lines)
    return era


def _check_modern_notification(sort: str, head: Head, message: dict[str, Any]) -> None:
    if sort == "response":
        raise Fault(code=INVALID_REQUEST, message="Clients send requests and notifications, not responses.")
    wire.check_version(head.headers.get(wire.VERSION_HEADER, ""))
    wire.check_duplicates(head.lines)
    wire.check_method(message["method"], head.headers)


def _only_waits(body: Any) -> bool:
    """Whether a request of an older revision does nothing but wait, so that nothing is lost when its client goes."""
    return isinstance(body, dict) and body.get("method") == "tasks/result"


def _plain(params: dict[str, Any]) -> bool:
    """Whether a list request asks for nothing but the first page, so that there is nothing for the SDK to judge."""
    meta = params.get("_meta")
    return "cursor" not in params and (meta is None or (isinstance(meta, dict) and "progressToken" not in meta))


def _response(request_id: Any, result: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":' + orjson.dumps(request_id) + b',"result":' + result + b"}"


async def _finish(reply: Reply, answer: bytes | None, headers: Headers | None = None) -> None:
    """Notifications and responses are accepted with 202 and no body."""
    if answer is None:
        await reply.end()
    else:
        await reply.finish(answer, headers=headers)


async def _finish_fault(reply: Reply, visit: Visit, fault: Fault, request_id: Any) -> None:
    headers = dict(fault.headers)
    if fault.status == 403 and fault.scopes:
        scopes = visit.caller.scopes | fault.scopes
        headers["WWW-Authenticate"] = challenge.insufficient(visit.caller.tenant_slug, scopes)
    await reply.finish(orjson.dumps(fault.body(request_id)), fault.status, _encoded(headers))


def _fault_of(problem: Exception, slug: str) -> Fault:
    """What the client is told of a failure. What it was stays in the log."""
    if isinstance(problem, Fault):
        return problem
    if isinstance(problem, Stopped):
        return _stopped()
    if isinstance(problem, db.UNREACHABLE):
        log.error("Postgres cannot be reached", exc_info=problem)
        says = "The hub cannot reach its database; nothing was run. Try again in a few seconds."
        return translate.unavailable("unavailable", says)
    log.error("a request at /t/%s/mcp failed", slug, exc_info=problem)
    return Fault(code=INTERNAL_ERROR, message="Internal error", status=500)


async def _send_fault(send: Send, fault: Fault, cors: Headers) -> None:
    body = orjson.dumps(fault.body(fault.request_id))
    await _send(send, fault.status, body, [*cors, (b"content-type", b"application/json"), *_encoded(fault.headers)])


async def _send(send: Send, status: int, body: bytes, headers: Headers) -> None:
    sized = [*headers, (b"content-length", b"%d" % len(body))] if status != 204 else headers
    await send({"type": "http.response.start", "status": status, "headers": sized})
    await send({"type": "http.response.body", "body": body})


def _encoded(headers: dict[str, str]) -> Headers:
    return [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]


def _stopped() -> Fault:
    refused = Refusal(reason="everything_stopped", message=Stopped.message)
    headers = {"Retry-After": str(Stopped.retry_after)}
    return Fault(code=UNAVAILABLE, message=Stopped.message, status=503, data=translate.shape(refused), headers=headers)


def _preflight(head: Head) -> Headers:
    """What a page of an allowed Origin may send: the headers MCP knows, and any `Mcp-Param-*` that it asks for."""
    asked = head.headers.get("access-control-request-headers", "").split(",")
    mirrored = "".join(f", {name}" for one in asked if _PARAMETER.fullmatch(name := one.strip()))
    return [
        (b"access-control-allow-methods", _ALLOWED),
        (
            b"access-control-allow-headers",
            b"Authorization, Content-Type, Accept, X-API-Key, Mcp-Protocol-Version, "
            b"Mcp-Method, Mcp-Name, Mcp-Session-Id, Last-Event-ID, Traceparent, Tracestate" + mirrored.encode(),
        ),
        (b"access-control-max-age", b"600"),
    ]
