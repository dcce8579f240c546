"""The pages around an endpoint: how to connect, and its resource metadata."""

from django.conf import settings
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe
from django.views.defaults import page_not_found

from access import outside
from lib import db, hosts
from tenants.addresses import resource
from tenants.middleware import own_transactions

_CORS = {"Access-Control-Allow-Origin": "*"}
# Hosts that run in a browser send the version header along, which makes their browser ask first.
_PREFLIGHT = {
    **_CORS,
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, MCP-Protocol-Version",
    "Access-Control-Max-Age": "86400",
}


@require_safe
def connect(request: HttpRequest, slug: str) -> HttpResponse:
    """What this URL is, and the line to paste for each host: first by signing in, then with a key."""
    _, name, _ = _public(slug)
    url = resource(slug)
    shown = {
        "name": name,
        "slug": slug,
        "url": url,
        "signing_in": hosts.connect_lines(url, name=slug),
        "with_key": hosts.connect_lines(url, hosts.NO_KEY, slug),
        "no_key": hosts.NO_KEY,
    }
    return render(request, "gateway/connect.html", shown)


@require_http_methods(["GET", "HEAD", "OPTIONS"])
@own_transactions
def resource_metadata(request: HttpRequest, slug: str) -> HttpResponse:
    """OAuth 2.0 Protected Resource Metadata (RFC 9728) of one tenant's endpoint, for any origin."""
    if request.method == "OPTIONS":
        return HttpResponse(status=204, headers=_PREFLIGHT)
    try:
        tenant_id, name, scopes = _public(slug)
    except Http404 as unknown:
        answer = page_not_found(request, unknown)
        # Without it a host that runs in a browser could not tell this from a network that fails.
        answer.headers["Access-Control-Allow-Origin"] = "*"
        return answer
    document = {
        "resource": resource(slug),
        "resource_name": name,
        "authorization_servers": [_issuer(tenant_id)],
        "scopes_supported": scopes or [],
        "bearer_methods_supported": ["header"],
        "resource_documentation": f"{settings.BASE_URL}/t/{slug}/",
    }
    return JsonResponse(document, headers={**_CORS, "Cache-Control": "max-age=60"})


def _issuer(tenant_id: int) -> str:
    """Who issues this tenant's tokens: the hub, unless it trusts another instead."""
    with db.tenant_scope([tenant_id]):
        return outside.issuer_of(tenant_id) or str(settings.BASE_URL)


def _public(slug: str) -> tuple[int, str, list[str] | None]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, name, scopes FROM tenants_public(%s)", [slug])
        row = cursor.fetchone()
    if row is None:
        raise Http404
    return row[0], row[1], row[2]
