"""What every page of the portal's frame needs to know of its reader."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from jobs import inbox_rows
from tenants.administration import standing
from tenants.models import User


def context(request: HttpRequest) -> dict[str, Any]:
    """For templates: whether the reader may enter the admin and what waits for their approval (both worked out when
    asked), whether the hub sends mail."""
    return {
        "approvals_nav": SimpleLazyObject(lambda: _approvals(request)),
        "enters_admin": SimpleLazyObject(lambda: hasattr(request, "user") and standing(request).enters),
        "sends_mail": settings.SENDS_MAIL,
    }


def _approvals(request: HttpRequest) -> inbox_rows.Nav:
    user = getattr(request, "user", None)
    return inbox_rows.nav(user) if isinstance(user, User) else inbox_rows.Nav()
