"""Signed-in browsers for the admin's tests, and what every form needs."""

from collections.abc import Callable
from typing import Any

import pytest
from django.forms import BaseForm
from django.test import Client

from audit.models import Entry
from tenants.models import Tenant, User
from tests.cast import Cast

SignIn = Callable[[User], Client]


@pytest.fixture
def sign_in() -> SignIn:
    def signed_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return signed_in


@pytest.fixture
def olga(cast: Cast, sign_in: SignIn) -> Client:
    """The browser of acme's owner."""
    return sign_in(cast.olga)


def form_of(client: Client, url: str, **changed: Any) -> dict[str, Any]:
    """What the browser would post: the page's form as it is drawn, with these fields changed."""
    response = client.get(url)
    assert response.status_code == 200, (url, response.status_code)
    form: BaseForm = response.context["adminform"].form
    data: dict[str, Any] = {}
    for name, field in form.fields.items():
        bound = form[name]
        widget = field.widget
        value = bound.value()
        if hasattr(widget, "decompress"):
            parts = widget.decompress(value)
            data |= {f"{name}_{place}": "" if part is None else part for place, part in enumerate(parts)}
        elif value is not None and value is not False:
            data[name] = "on" if value is True else value
    return data | {name.replace("__", "-"): value for name, value in changed.items()}


def entries(cast: Cast, tenant: Tenant, **found: Any) -> list[Entry]:
    """The tenant's entries, oldest first."""
    with cast.see(tenant):
        return list(Entry.objects.filter(tenant_id=tenant.pk, **found).order_by("id"))
