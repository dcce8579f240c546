"""A browser with a passkey device, and the limits of signing in."""

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import override_settings
from playwright.sync_api import Page

from tests.browser import opened


@pytest.fixture
def settings_of_limits() -> Iterator[dict[str, str]]:
    """The limits of signing in, to be changed for one test."""
    limits = dict(settings.ACCOUNT_RATE_LIMITS)
    with override_settings(ACCOUNT_RATE_LIMITS=limits):
        yield limits


@pytest.fixture
def page() -> Iterator[Page]:
    """A page with a passkey device in it."""
    with opened(without="passkeys were not tested in a browser", viewport={"width": 1000, "height": 800}) as page:
        devtools = page.context.new_cdp_session(page)
        devtools.send("WebAuthn.enable")
        device = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
        device |= {"isUserVerified": True, "automaticPresenceSimulation": True}
        devtools.send("WebAuthn.addVirtualAuthenticator", {"options": device})
        yield page
