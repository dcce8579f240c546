"""New tokens. A refresh derives its successors from the presented token, anything else draws 256 random bits."""

import secrets
from typing import Any

from access.oauth import rotation


def access_token(request: Any) -> str:
    """For the toolkit's request, which has `grant_type` and `refresh_token`."""
    if request.grant_type == "refresh_token":
        return rotation.next_access_token(request.refresh_token)
    return f"{rotation.ACCESS}{secrets.token_urlsafe(32)}"


def refresh_token(request: Any) -> str:
    """Likewise."""
    if request.grant_type == "refresh_token":
        return rotation.next_refresh_token(request.refresh_token)
    return f"{rotation.REFRESH}{secrets.token_urlsafe(32)}"
