"""Debian's chromium, for the pages that only a real browser can use."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from playwright.sync_api import Page, expect, sync_playwright

_CHROMIUM = shutil.which("chromium")
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

expect.set_options(timeout=30_000)  # as long as everything else in a page is waited for: five seconds are few


@contextlib.contextmanager
def opened(*, without: str, forgiven: str | None = None, **look: Any) -> Iterator[Page]:
    """A page of a fresh browser. Whatever its console complains of fails the test at its end: a page that broke its
    own content security policy, a script that failed, an address that was not there.

    without: what was not tested where chromium is missing, said aloud when the test is skipped.
    forgiven: complaints with this in them are none.
    look: its size and colours, as Playwright's `new_page` takes them.
    """
    if _CHROMIUM is None:
        pytest.skip(f"CHROMIUM IS NOT INSTALLED: {without}")
    complaints: list[str] = []
    with sync_playwright() as playwright, _beside_playwright():
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
        page = browser.new_page(**look)
        page.on("pageerror", lambda problem: complaints.append(str(problem)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        yield page
        browser.close()
    left = [one for one in complaints if forgiven is None or forgiven not in one]
    assert not left, left


@contextlib.contextmanager
def _beside_playwright() -> Iterator[None]:
    """Playwright keeps an event loop in this thread, which makes Django refuse the test's own, harmless queries and
    gives them a connection of their own."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        try:
            yield
        finally:
            connections.close_all()
