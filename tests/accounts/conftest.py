"""A browser for the pages that only a real one can use, which fails the test when a page breaks its own policy."""

import shutil
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import override_settings
from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium")


@pytest.fixture
def settings_of_limits() -> Iterator[dict[str, str]]:
    """The limits of signing in, to be changed for one test."""
    limits = dict(settings.ACCOUNT_RATE_LIMITS)
    with override_settings(ACCOUNT_RATE_LIMITS=limits):
        yield limits


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """A page with a passkey device in it; whatever the console complains of fails the test at its end."""
    if CHROMIUM is None:
        pytest.skip("CHROMIUM IS NOT INSTALLED: passkeys were not tested in a browser")
    # Playwright keeps an event loop in this thread, which makes Django refuse the test's own, harmless queries.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        page.on("pageerror", lambda problem: complaints.append(str(problem)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        devtools = page.context.new_cdp_session(page)
        devtools.send("WebAuthn.enable")
        device = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
        device |= {"isUserVerified": True, "automaticPresenceSimulation": True}
        devtools.send("WebAuthn.addVirtualAuthenticator", {"options": device})
        yield page
        browser.close()
    assert complaints == []
