"""A page of a real browser, what is seen of it in both colours kept where PICTURES names a folder, and signing in."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tenants.models import User
from tests.browser import opened

_PICTURES = os.environ.get("PICTURES", "")


@pytest.fixture(params=["light", "dark"] if _PICTURES else ["light"])
def page(request: pytest.FixtureRequest) -> Iterator[Page]:
    look = {"viewport": {"width": 1280, "height": 900}, "color_scheme": request.param}
    with opened(without="rules, replay and access requests were not tested in a browser", **look) as page:
        page.scheme = request.param  # type: ignore[attr-defined]
        yield page


def picture(page: Page, name: str) -> None:
    if _PICTURES:
        scheme = getattr(page, "scheme", "")
        page.screenshot(path=str(Path(_PICTURES) / f"{name}-{scheme}.png"), full_page=True)


def sign_in(page: Page, hub: str, user: User, password: str, where: str) -> None:
    """From there on as this person, at that path."""
    page.context.clear_cookies()
    page.goto(f"{hub}/accounts/login/?next={where}")
    page.fill("[name=login]", user.username)
    page.fill("[name=password]", password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"**{where}")
