"""Pages of the admin that are one button: they ask, act, say what became of it, and lead back."""

import html

from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from tenants import invitations
from tenants.models import Role
from tests.cast import Cast


def press(browser: Client, url: str, *, asks: str) -> tuple[str, str, str]:
    """Read the question and press its button: the level and text of what is said, and where that leads."""
    page = html.unescape(browser.get(url).text)
    assert f'<button class="mh-button mh-danger">{asks}</button>' in page
    answer = browser.post(url)
    assert answer.status_code == 302
    (said,) = get_messages(answer.wsgi_request)
    browser.get(answer["location"])  # where the message is shown, and gone
    return said.level_tag, str(said), answer["location"]


def test_a_key_is_revoked_once_and_the_second_time_is_told_so(cast: Cast, olga: Client) -> None:
    key, _ = cast.key(cast.uma)
    url, back = reverse("admin:access_apikey_revoke", args=[key.pk]), reverse("admin:access_apikey_changelist")
    assert press(olga, url, asks=f"Revoke {key.name}") == ("success", f"{key} is revoked.", back)
    assert press(olga, url, asks=f"Revoke {key.name}") == ("info", f"{key} was revoked before.", back)


def test_an_invitation_is_revoked_once_and_the_second_time_is_told_so(cast: Cast, olga: Client) -> None:
    with cast.see(cast.acme):
        invitation, _ = invitations.invite(cast.acme, role=Role.USER, email="", actor=cast.olga)
    url = reverse("admin:tenants_invitation_revoke", args=[invitation.pk])
    back = reverse("admin:tenants_invitation_changelist")
    asks = "Revoke this invitation"
    assert press(olga, url, asks=asks) == ("success", "The invitation is revoked.", back)
    assert press(olga, url, asks=asks) == ("info", "The invitation was accepted or revoked before.", back)
