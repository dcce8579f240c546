"""Jobs over REST: list, look, cancel, fetch the result. Their events are in `jobs.stream`."""

import math
from typing import Any

from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound, ParseError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access.head import Head, Headers, cors, wrong_peer
from jobs import queries, results, rows
from jobs.api.entry import Refused, nothing_here, preflight, unknown_job
from jobs.api.serializers import ErrorBody, JobBody, ResultBody, Wanted
from jobs.models import Job
from jobs.shapes import ask_at, job_body, result_body
from jobs.values import View, may_stop
from lib import db
from tenants.caller import Caller

_ID = OpenApiParameter("job_id", str, OpenApiParameter.PATH, description="As the job's handle has it.")
_SLUG = OpenApiParameter("slug", str, OpenApiParameter.PATH, description="The tenant's, as in its endpoint's URL.")
_ERRORS = {401: ErrorBody, 404: ErrorBody, 429: ErrorBody}


class Pages(CursorPagination):
    """The newest first; `next` and `previous` are whole URLs."""

    ordering = ("-created_at", "-id")
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 100
    cursor_query_description = "What `next` and `previous` carry; opaque."
    page_size_query_description = "How many jobs on a page, 100 at the most."

    def decode_cursor(self, request: Request) -> Any:
        try:
            return super().decode_cursor(request)
        except NotFound:
            raise ParseError("The cursor is not one of this list.") from None

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """DRF's own says `nullable`, which OpenAPI 3.1 does not know."""
        page = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": page, "previous": page, "results": schema},
        }


class Base(APIView):
    """What all of them share: who may ask at all, and what browsers are told."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        head = Head.of(request.scope)  # type: ignore[attr-defined] # there is one under ASGI
        if wrong := wrong_peer(head):
            refused = Refused(status=wrong[0], reason="wrong_peer", message=wrong[1])
            return HttpResponse(refused.encoded(), status=refused.status, content_type="application/json")
        if request.method == "OPTIONS":
            return _with(HttpResponse(status=204), preflight(cors(head)))
        response = super().dispatch(request, *args, **kwargs)
        response.headers["Cache-Control"] = "private, no-store"
        return _with(response, cors(head))


@extend_schema(tags=["jobs"])
class JobList(Base):
    """The caller's own jobs, or those of the tenant."""

    pagination_class = Pages

    @extend_schema(
        operation_id="list_jobs",
        summary="List jobs, the newest first",
        parameters=[_SLUG, Wanted],
        responses={200: JobBody(many=True), 400: ErrorBody, **_ERRORS},
    )
    def get(self, request: Request, slug: str) -> Response:
        wanted = Wanted(data=request.query_params)
        wanted.is_valid(raise_exception=True)
        caller: Caller = request.user
        pages = self.pagination_class()
        with db.tenant_scope([caller.tenant_id]):
            found = pages.paginate_queryset(_narrowed(caller, wanted.validated_data), request, view=self)
            shown = [job_body(queries.view_of(job), slug) for job in found or ()]
        return pages.get_paginated_response(JobBody(shown, many=True).data)


@extend_schema(tags=["jobs"])
class JobDetail(Base):
    """How a job is now."""

    @extend_schema(
        operation_id="get_job", summary="Look at a job", parameters=[_SLUG, _ID], responses={200: JobBody, **_ERRORS}
    )
    def get(self, request: Request, slug: str, job_id: str) -> Response:
        return _job(_found(request.user, job_id), slug)


@extend_schema(tags=["jobs"])
class JobCancel(Base):
    """One that waits is cancelled at once, one that runs when its tool stops; one that has ended stays as it is."""

    @extend_schema(
        operation_id="cancel_job",
        summary="Ask a job to stop",
        parameters=[_SLUG, _ID],
        request=None,
        responses={200: JobBody, 202: JobBody, 403: ErrorBody, **_ERRORS},
    )
    def post(self, request: Request, slug: str, job_id: str) -> Response:
        if not may_stop(request.user, _found(request.user, job_id)):
            says = "Only whose job it is, and owners and admins of the tenant, may stop it."
            raise Refused(status=403, reason="not_allowed", message=says)
        view = async_to_sync(rows.cancel)(request.user, job_id)
        if view is None:
            raise unknown_job()
        return _job(view, slug, status=202 if view.cancelling else 200)


@extend_schema(tags=["jobs"])
class JobResult(Base):
    """409 until it has ended, 410 when its result was kept for its time and is gone."""

    @extend_schema(
        operation_id="get_job_result",
        summary="Fetch what came of a job",
        parameters=[_SLUG, _ID],
        responses={200: ResultBody, 409: ErrorBody, 410: ErrorBody, **_ERRORS},
    )
    def get(self, request: Request, slug: str, job_id: str) -> Response:
        view = _found(request.user, job_id, content=True)
        if not view.ended:
            raise Refused(
                status=409,
                reason="not_ended",
                message=f"The job is {view.state.value}; there is no result yet.",
                retryable=True,
                retry_after=view.poll_ms / 1000,
                headers={"Retry-After": str(math.ceil(view.poll_ms / 1000))},
            )
        if view.forgotten:
            raise Refused(status=410, reason="forgotten", message="The result was kept for its time and is gone.")
        return Response(ResultBody({**_result(view), "ask_at": ask_at(view, slug)}).data)


class Nothing(Base):
    """Whatever else lies below `/api/v1/`: answered in the API's own words, whatever the method and the credential."""

    authentication_classes = ()
    permission_classes = ()
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise nothing_here()


def _found(caller: Caller, job_id: str, *, content: bool = False) -> View:
    with db.tenant_scope([caller.tenant_id]):
        view = queries.find(caller, job_id, content=content)
    if view is None:
        raise unknown_job()
    return view


def _job(view: View, slug: str, status: int = 200) -> Response:
    return Response(JobBody(job_body(view, slug)).data, status=status)


def _result(view: View) -> dict[str, Any]:
    with db.tenant_scope([view.tenant_id]):
        row = Job.objects.only("tenant", "result_key", "expires_at").get(pk=view.id)
    return {
        "id": view.id,
        "state": view.state,
        "reason": view.reason,
        "result": result_body(view.result) if view.result is not None else None,
        "error": view.error,
        "download_url": results.link(row),
    }


def _narrowed(caller: Caller, wanted: dict[str, Any]) -> Any:
    jobs = queries.visible(caller)
    if wanted["mine"]:
        jobs = jobs.filter(member_id=caller.member_id)
    if "state" in wanted:
        jobs = jobs.filter(state=wanted["state"])
    return jobs.filter(tool=wanted["tool"]) if "tool" in wanted else jobs


def _with(response: HttpResponseBase, headers: Headers) -> HttpResponseBase:
    for name, value in headers:
        if name == b"vary":
            patch_vary_headers(response, [value.decode()])
        else:
            response.headers[name.decode()] = value.decode("latin-1")
    return response
