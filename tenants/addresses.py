"""The URLs of a tenant's endpoint: what people type, what a token is good for, where its metadata lies."""

import re
from urllib.parse import urlencode

from django.conf import settings

_PATH = re.compile(r"/t/([a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?)/mcp")


def resource(slug: str) -> str:
    """The tenant's endpoint as people type it; the audience of its tokens (RFC 8707)."""
    return f"{settings.BASE_URL}/t/{slug}/mcp"


def asking(slug: str, tool: str) -> str:
    """The page on which a member asks for access to a tool."""
    return f"{settings.BASE_URL}/t/{slug}/ask?{urlencode({'tool': tool})}"


def slug_of(resource: str) -> str | None:
    """The slug in an endpoint's URL, which must be exactly one that `resource` makes; None for anything else."""
    base: str = settings.BASE_URL
    found = _PATH.fullmatch(resource[len(base) :]) if resource.startswith(base) else None
    return found[1] if found else None


def metadata_url(slug: str) -> str:
    """Where the endpoint's resource metadata lies (RFC 9728 section 3.1: the well-known part goes before the path)."""
    return f"{settings.BASE_URL}/.well-known/oauth-protected-resource/t/{slug}/mcp"
