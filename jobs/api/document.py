"""The OpenAPI document of the REST interface. Made once: it says nothing of any tenant, and anybody may read it."""

from functools import cache
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator

from jobs.api.entry import wrong_method
from tenants.middleware import own_transactions

_ANYBODY = {"Access-Control-Allow-Origin": "*"}


@csrf_exempt  # so that who posts is told what is wrong in the words of the API
@own_transactions
def document(request: HttpRequest) -> HttpResponse:
    if request.method not in ("GET", "HEAD"):
        refused = wrong_method(str(request.method))
        headers = {**_ANYBODY, "Allow": "GET, HEAD", "Cache-Control": "private, no-store"}
        return HttpResponse(refused.encoded(), status=refused.status, content_type="application/json", headers=headers)
    headers = {**_ANYBODY, "Cache-Control": "public, max-age=300"}
    return HttpResponse(_document(), content_type="application/json", headers=headers)


class CredentialScheme(OpenApiAuthenticationExtension):
    """How the document names what `jobs.api.auth.Credential` takes."""

    target_class = "jobs.api.auth.Credential"
    name = ["credential", "key"]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [
            {"type": "http", "scheme": "bearer", "description": "An API key or an access token of the tenant."},
            {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key of the tenant."},
        ]

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[str]]]:
        """One or the other, never both."""
        return [{name: []} for name in self.name]


def add_events(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """The one path that Django does not serve (`jobs.stream`); a hook of drf-spectacular."""
    job = result["paths"]["/api/v1/t/{slug}/jobs/{job_id}/"]["get"]
    stream = {
        "description": "Events `state` (a job, as at its own URL) and `progress` (`done`, `total`, `message`). The "
        "first one says how the job is now, the last one how it ended. Who comes again is told how it is then.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    result["paths"]["/api/v1/t/{slug}/jobs/{job_id}/events"] = {
        "get": {
            **job,
            "operationId": "follow_job",
            "summary": "Follow a job as server-sent events",
            "responses": {**job["responses"], "200": stream},
        }
    }
    return result


@cache
def _document() -> bytes:
    return orjson.dumps(SchemaGenerator().get_schema(request=None, public=True), default=str)
