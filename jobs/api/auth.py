"""Django REST framework's door: what `jobs.api.entry` decides, in its terms."""

import logging
from typing import Any

from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from access.head import Head
from jobs.api.entry import Refused, begin, nothing_here, unavailable
from lib import db
from tenants.caller import Caller

log = logging.getLogger(__name__)

_AWAY = (*db.UNREACHABLE, OperationalError, InterfaceError)
_REASONS = {400: "invalid_request", 405: "wrong_method", 406: "not_acceptable", 415: "wrong_media_type"}


class Credential(BaseAuthentication):
    """A tenant's API key or access token, as at its MCP endpoint: `request.user` is then the Caller.

    Admission runs on the server's own event loop, which waits for this thread, so that its reads are gathered with
    those of the endpoint.
    """

    def authenticate(self, request: Request) -> tuple[Caller, None]:
        head = Head.of(request._request.scope)
        return async_to_sync(begin)(head, request.parser_context["kwargs"]["slug"]), None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class Admitted(BasePermission):
    """Only who was admitted; what they may do with a job is `jobs.values`'."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return isinstance(request.user, Caller)


def answer(problem: Exception, context: dict[str, Any]) -> Response:
    """Every failure as `{"error": {"reason", "message", "retryable"}}`. What the hub did wrong stays in the log."""
    refused = _refused(problem)
    return Response(refused.body(), status=refused.status, headers=dict(refused.headers))


def _refused(problem: Exception) -> Refused:
    match problem:
        case Refused():
            return problem
        case Http404():
            return nothing_here()
        case exceptions.APIException():
            reason = _REASONS.get(problem.status_code, "invalid_request")
            return Refused(status=problem.status_code, reason=reason, message=_words(problem.detail))
        case ValidationError():  # a page's cursor that nobody was given
            return Refused(status=400, reason="invalid_request", message="The cursor is not one of this list.")
    if isinstance(problem, _AWAY):
        log.error("Postgres cannot be reached", exc_info=problem)
        return unavailable()
    log.error("a request for jobs failed", exc_info=problem)
    return Refused(status=500, reason="internal_error", message="The hub failed; it is logged.")


def _words(detail: Any) -> str:
    """DRF's nested details as sentences, each with the name of what it is about."""
    if isinstance(detail, dict):
        return " ".join(f"{name}: {_words(one)}" for name, one in detail.items())
    if isinstance(detail, list):
        return " ".join(_words(one) for one in detail)
    return str(detail)
