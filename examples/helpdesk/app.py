"""The REST API over the store. Every error is JSON: {"error": code, "message": what to do about it}."""

import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from examples.helpdesk.reports import Reports
from examples.helpdesk.store import GROUPS, STATUSES, AlreadyClosed, Store, Unknown

_STORE = web.AppKey("store", Store)
_REPORTS = web.AppKey("reports", Reports)
_TOKEN = web.AppKey("token", str)
_MAX_LIMIT = 100
_MAX_COMMENT = 5000
_CODES = {400: "bad_request", 401: "unauthorized", 404: "not_found", 405: "method_not_allowed", 409: "conflict"}
_CODES |= {413: "too_large", 422: "invalid"}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiError(Exception):
    """Becomes the HTTP status and a JSON body with the message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def make_app(store: Store, *, token: str = "", report_seconds: float = 10.0) -> web.Application:
    """The service; with an empty `token` everyone may use it."""
    app = web.Application(middlewares=[_errors_as_json, _bearer_token], client_max_size=64 * 1024)
    app[_STORE], app[_REPORTS], app[_TOKEN] = store, Reports(report_seconds), token
    app.add_routes(
        [
            web.get("/health", health),
            web.get("/tickets", search),
            web.get(r"/tickets/{id}", show),
            web.get(r"/tickets/{id}/comments", comments),
            web.post(r"/tickets/{id}/comments", add_comment),
            web.post(r"/tickets/{id}/close", close),
            web.post("/reports", begin_report),
            web.get("/reports/{id}", show_report),
        ]
    )
    return app


@web.middleware
async def _errors_as_json(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as problem:
        return _error(problem.status, str(problem))
    except Unknown as problem:
        return _error(404, f"There is no ticket {problem.args[0]}; GET /tickets lists them.")
    except AlreadyClosed as problem:
        return _error(409, f"Ticket {problem.args[0]} is closed already.")
    except web.HTTPException as problem:
        if problem.status < 400:
            raise
        return _error(problem.status, problem.reason, problem.headers.get("Allow"))


@web.middleware
async def _bearer_token(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """RFC 6750, section 2.1. Health is open, as whoever watches the process has no token."""
    token = request.app[_TOKEN]
    if token and request.path != "/health":
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        # Bytes that are no UTF-8 arrive as surrogates.
        raw = given.strip().encode(errors="surrogateescape")
        if scheme.lower() != "bearer" or not hmac.compare_digest(raw, token.encode()):
            raise ApiError(401, "Send the token of this help desk as `Authorization: Bearer <token>`.")
    return await handler(request)


async def health(_request: web.Request) -> web.Response:
    """Whether the process answers."""
    return web.json_response({"status": "ok"})


async def search(request: web.Request) -> web.Response:
    """GET /tickets?query=&status=&limit=&offset= : a page of tickets and how many there are in all."""
    status = request.query.get("status") or None
    if status is not None and status not in STATUSES:
        raise ApiError(422, f"status is {status!r}; it takes one of {', '.join(STATUSES)}.")
    limit = _number(request, "limit", 20, low=1, high=_MAX_LIMIT)
    offset = _number(request, "offset", 0, low=0, high=1_000_000)
    found = request.app[_STORE].search(request.query.get("query", ""), status)
    page = {"tickets": found[offset : offset + limit], "total": len(found), "limit": limit, "offset": offset}
    return web.json_response(page)


async def show(request: web.Request) -> web.Response:
    """GET /tickets/{id}"""
    return web.json_response(request.app[_STORE].ticket(_ticket_id(request)))


async def comments(request: web.Request) -> web.Response:
    """GET /tickets/{id}/comments, oldest first"""
    return web.json_response({"comments": request.app[_STORE].comments(_ticket_id(request))})


async def add_comment(request: web.Request) -> web.Response:
    """POST /tickets/{id}/comments {body, internal, author}: 201 with the comment"""
    ticket_id, given = _ticket_id(request), await _json_object(request)
    body, internal, author = given.get("body"), given.get("internal", False), given.get("author", "api")
    if not isinstance(body, str) or not body.strip() or len(body) > _MAX_COMMENT:
        raise ApiError(422, f"body is required: a text of 1 to {_MAX_COMMENT} characters.")
    if not isinstance(internal, bool):
        raise ApiError(422, "internal takes true (only agents see the comment) or false (the requester sees it).")
    if not isinstance(author, str) or not 1 <= len(author) <= 200:
        raise ApiError(422, "author takes a text of 1 to 200 characters.")
    comment = request.app[_STORE].add_comment(ticket_id, body.strip(), internal=internal, author=author)
    return web.json_response(comment, status=201)


async def close(request: web.Request) -> web.Response:
    """POST /tickets/{id}/close: the closed ticket, or 409"""
    return web.json_response(request.app[_STORE].close(_ticket_id(request)))


async def begin_report(request: web.Request) -> web.Response:
    """POST /reports {group_by}: 202 at once, the report in about ten seconds"""
    given = await _json_object(request) if request.body_exists else {}
    group_by = given.get("group_by", "status")
    if group_by not in GROUPS:
        raise ApiError(422, f"group_by takes one of {', '.join(GROUPS)}.")
    store = request.app[_STORE]
    report = request.app[_REPORTS].begin(group_by, lambda: store.count(group_by))
    return web.json_response(report, status=202, headers={"Location": f"/reports/{report['id']}"})


async def show_report(request: web.Request) -> web.Response:
    """GET /reports/{id}: status running or done, progress from 0 to 1, and the result once it is done"""
    report = request.app[_REPORTS].find(request.match_info["id"])
    if report is None:
        raise ApiError(404, "There is no such report; reports are forgotten when the help desk restarts.")
    return web.json_response(report)


def _ticket_id(request: web.Request) -> int:
    raw = request.match_info["id"]
    if not raw.isascii() or not raw.isdigit() or len(raw) > 9:
        raise ApiError(404, f"There is no ticket {raw[:40]!r}: ticket ids are whole numbers.")
    return int(raw)


def _number(request: web.Request, name: str, default: int, *, low: int, high: int) -> int:
    raw = request.query.get(name) or str(default)
    if not raw.isascii() or not raw.isdigit() or len(raw) > 9 or not low <= int(raw) <= high:
        raise ApiError(400, f"{name} is {raw[:40]!r}; it takes a whole number from {low} to {high}.")
    return int(raw)


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        given = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise ApiError(400, "The body is not JSON.") from None
    if not isinstance(given, dict):
        raise ApiError(400, "The body is not a JSON object.")
    return given


def _error(status: int, message: str, allow: str | None = None) -> web.Response:
    headers = {"Allow": allow} if allow else {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="helpdesk"'
    body = {"error": _CODES.get(status, "error"), "message": message}
    return web.json_response(body, status=status, headers=headers)
