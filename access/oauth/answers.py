"""What the endpoints for programs have in common: JSON both ways, CORS, and never a page.

Any origin may ask, since no cookie is looked at and no credential sent along unasked (RFC 6749 has none in browsers
but what the script itself holds).
"""

import functools
import logging
from collections.abc import Callable

from django.db import Error
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters

from access import refusals
from access.oauth.forms import Malformed
from lib import db
from tenants.middleware import own_transactions

log = logging.getLogger(__name__)

_RETRY_SECONDS = 2
_HEADERS = "Authorization, Content-Type, MCP-Protocol-Version"

View = Callable[[HttpRequest], HttpResponse]


def error(code: str, description: str, *, status: int = 400) -> JsonResponse:
    """RFC 6749 section 5.2."""
    return JsonResponse({"error": code, "error_description": description}, status=status)


def endpoint(*methods: str) -> Callable[[View], View]:
    """A view for programs: these methods and OPTIONS, no CSRF token, no cookie, its own transactions.

    Whatever goes wrong is answered as JSON: a form that cannot be read with 400, Postgres away with 503.
    """

    def marked(view: View) -> View:
        @csrf_exempt
        @own_transactions
        @sensitive_post_parameters()
        @functools.wraps(view)
        def answered(request: HttpRequest) -> HttpResponse:
            response = _answered(view, request, methods)
            response["Access-Control-Allow-Origin"] = "*"
            response["Access-Control-Expose-Headers"] = "WWW-Authenticate, Retry-After"
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return answered

    return marked


def address_of(request: HttpRequest) -> str:
    """The peer's IP address; behind a proxy the server has put the client's there."""
    return str(request.META.get("REMOTE_ADDR") or "")


def _answered(view: View, request: HttpRequest, methods: tuple[str, ...]) -> HttpResponse:
    allowed = ", ".join([*methods, "OPTIONS"])
    if request.method == "OPTIONS":
        return HttpResponse(status=204, headers=_preflight(allowed))
    if request.method not in methods:
        refused = error("invalid_request", f"This URL takes {allowed}.", status=405)
        refused["Allow"] = allowed
        return refused
    try:
        return _or_malformed(view, request)
    except (Error, *db.UNREACHABLE) as problem:
        if not _unreachable(problem):
            return _broken(request)
        log.warning("%s: Postgres cannot be reached", request.path)
        return _later()
    except Exception:
        return _broken(request)


def _or_malformed(view: View, request: HttpRequest) -> HttpResponse:
    try:
        return view(request)
    except Malformed as problem:
        refusals.record(
            tenant_id=None, reason="invalid_request", address=address_of(request), detail={"path": request.path}
        )
        return error("invalid_request", str(problem))


def _preflight(allowed: str) -> dict[str, str]:
    return {
        "Access-Control-Allow-Methods": allowed,
        "Access-Control-Allow-Headers": _HEADERS,
        "Access-Control-Max-Age": "86400",
    }


def _unreachable(problem: BaseException) -> bool:
    """Django wraps what the driver raised, and keeps it as the cause."""
    return isinstance(problem, db.UNREACHABLE) or isinstance(problem.__cause__, db.UNREACHABLE)


def _later() -> HttpResponse:
    refused = error("temporarily_unavailable", "The hub cannot reach its database; try again.", status=503)
    refused["Retry-After"] = str(_RETRY_SECONDS)
    return refused


def _broken(request: HttpRequest) -> HttpResponse:
    log.exception("%s failed", request.path)
    return error("server_error", "The hub made a mistake; its operator finds it in the log.", status=500)
