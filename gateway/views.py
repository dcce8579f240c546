"""The pages around an endpoint: how to connect, and its resource metadata."""

from django.conf import settings
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from lib import hosts
from tenants.addresses import resource


@require_safe
def connect(request: HttpRequest, slug: str) -> HttpResponse:
    """What this URL is, and the line to paste for each host."""
    _, name, _ = _public(slug)
    url = resource(slug)
    lines = hosts.connect_lines(url, name=slug)
    return render(request, "gateway/connect.html", {"name": name, "url": url, "lines": lines, "no_key": hosts.NO_KEY})


@require_safe
def resource_metadata(request: HttpRequest, slug: str) -> JsonResponse:
    """OAuth 2.0 Protected Resource Metadata (RFC 9728) of one tenant's endpoint."""
    _, name, scopes = _public(slug)
    document = {
        "resource": resource(slug),
        "resource_name": name,
        "scopes_supported": scopes or [],
        "bearer_methods_supported": ["header"],
        "resource_documentation": f"{settings.BASE_URL}/t/{slug}/",
    }
    return JsonResponse(document, headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "max-age=60"})


def _public(slug: str) -> tuple[int, str, list[str] | None]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, name, scopes FROM tenants_public(%s)", [slug])
        row = cursor.fetchone()
    if row is None:
        raise Http404
    return row[0], row[1], row[2]
