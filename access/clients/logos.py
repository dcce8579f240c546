"""Logos of clients: fetched once with the guard, known by their first bytes, served by the hub itself."""

from dataclasses import dataclass

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from access.clients import outbound
from access.models import Client
from lib import fetch
from tenants.middleware import own_transactions

MOST_BYTES = 64 * 1024
_SECONDS = 3.0
_KEPT_SECONDS = 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Logo:
    """A picture and its media type."""

    content: bytes
    media_type: str


async def fetch_logo(uri: str) -> Logo | None:
    """The picture there, or None when there is none the hub would show; a client without a logo is no failure."""
    allowed = frozenset(settings.CLIENT_DOCUMENT_HOSTS)
    try:
        answer = await outbound.read(
            uri, accept="image/*", seconds=_SECONDS, most_bytes=MOST_BYTES, allow_hosts=allowed, redirects=2
        )
    except fetch.FetchError:
        return None
    media_type = media_type_of(answer.body) if answer.status == 200 else None
    return Logo(content=answer.body, media_type=media_type) if media_type else None


def media_type_of(content: bytes) -> str | None:
    """What kind of picture it is by its first bytes, whatever its server says. Never SVG, which can hold scripts."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"
    return None


@own_transactions
@require_safe
def logo(request: HttpRequest, pk: int) -> HttpResponse:
    """A client's logo. From outside, so that a browser is told to do nothing with it but draw it."""
    found = Client.objects.filter(pk=pk).exclude(logo_type="").values_list("logo", "logo_type").first()
    if found is None or found[0] is None:
        raise Http404("There is no such logo.")
    return HttpResponse(
        bytes(found[0]),
        content_type=found[1],
        headers={
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": f"max-age={_KEPT_SECONDS}",
        },
    )
