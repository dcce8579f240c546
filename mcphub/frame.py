"""What every page of the portal's frame needs to know of its reader."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from tenants.administration import standing


def context(request: HttpRequest) -> dict[str, Any]:
    """For templates: whether the reader may enter the admin (worked out when asked), whether the hub sends mail."""
    return {
        "enters_admin": SimpleLazyObject(lambda: hasattr(request, "user") and standing(request).enters),
        "sends_mail": settings.SENDS_MAIL,
    }
