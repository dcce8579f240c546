"""Browsers of people, each at an address of its own, so that no test uses up another's attempts."""

import itertools
from typing import Any

from django.http import HttpResponse
from django.test import Client

from audit.models import Entry
from lib import db
from tenants.actions import PLATFORM

NEW_PASSWORD = "a long enough new phrase"
_addresses = itertools.count(1)


def browser() -> Client:
    """A browser at an address nobody else has."""
    number = next(_addresses)
    return Client(REMOTE_ADDR=f"10.{number // 65536 % 256}.{number // 256 % 256}.{number % 256}")


def sign_in(client: Client, login: str, password: str, **given: str) -> HttpResponse:
    """Send the sign-in form."""
    return client.post("/accounts/login/", {"login": login, "password": password, **given})  # type: ignore[return-value]


def ledger_of_platform(**found: Any) -> list[Entry]:
    """The platform's entries, oldest first."""
    with db.tenant_scope([PLATFORM]):
        return list(Entry.objects.filter(tenant_id=PLATFORM, **found).order_by("id"))
