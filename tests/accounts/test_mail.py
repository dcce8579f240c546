"""What the hub mails, when it can: links to reset a password and to confirm an address."""

import re
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings

from mcphub import env
from tenants.models import User
from tests.accounts.people import NEW_PASSWORD, browser, sign_in
from tests.accounts.test_invitations import invite
from tests.cast import Cast


@pytest.fixture(autouse=True)
def _mail_server() -> Iterator[None]:
    mail.outbox.clear()
    with override_settings(SENDS_MAIL=True, ACCOUNT_EMAIL_VERIFICATION="mandatory"):
        yield


def link_in(number: int = 0) -> str:
    """The path of the link in a mail."""
    found = re.search(r"https?://[^/\s]+(/\S+)", str(mail.outbox[number].body))
    assert found
    return found[1]


def test_a_forgotten_password_is_set_by_a_link_that_works_once(cast: Cast) -> None:
    client = browser()
    assert client.post("/accounts/password/reset/", {"email": cast.uma.email}).status_code == 302
    (sent,) = mail.outbox
    assert sent.to == [cast.uma.email]
    link = link_in()
    form = client.get(link, follow=True)
    given = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    assert client.post(form.request["PATH_INFO"], given).status_code == 302
    assert sign_in(browser(), cast.uma.username, NEW_PASSWORD).status_code == 302
    assert "opens nothing" in browser().get(link, follow=True).content.decode()


def test_no_host_a_client_makes_up_is_in_a_mail(cast: Cast) -> None:
    client = browser()
    client.defaults["HTTP_HOST"] = "localhost:666"
    for address in (cast.uma.email, "nobody-at-all@example.com"):
        client.post("/accounts/password/reset/", {"email": address})
    _, link = invite(cast)
    for number, address in enumerate((f"nora-{cast.acme.slug}@example.com", cast.olga.email)):
        client = browser()
        client.defaults["HTTP_HOST"] = "localhost:666"
        client.get(link)
        given = {"email": address, "username": f"nora-{number}-{cast.acme.slug}", "password1": NEW_PASSWORD}
        client.post("/accounts/signup/", given)
    assert len(mail.outbox) == 4
    for sent in mail.outbox:
        text = f"{sent.subject}\n{sent.body}"
        assert "666" not in text
        urls = re.findall(r"https?://\S+", text)
        assert urls
        assert all(url.startswith(f"{settings.BASE_URL}/") for url in urls)


def test_asking_for_a_reset_tells_nobody_who_has_an_account(cast: Cast) -> None:
    answers = []
    for address in (cast.uma.email, "nobody-here@example.com"):
        client = browser()
        answer = client.post("/accounts/password/reset/", {"email": address}, follow=True)
        answers.append((answer.redirect_chain, answer.content.decode().replace(address, "")))
    assert answers[0] == answers[1]
    assert len(mail.outbox) == 2, "the unknown address is told that it is unknown, so both take as long"


def test_who_signs_up_confirms_their_address_first(cast: Cast) -> None:
    _, link = invite(cast)
    client, name = browser(), f"nina-{cast.acme.slug}"
    client.get(link)
    given = {"email": f"{name}@example.com", "username": name, "password1": NEW_PASSWORD}
    assert client.post("/accounts/signup/", given)["location"] == "/accounts/confirm-email/"
    assert client.get("/account/apps/").status_code == 302
    confirm = link_in()
    assert "Is " in client.get(confirm).content.decode()
    assert client.post(confirm)["location"] == "/join/"
    assert client.post("/join/").status_code == 302


def test_signing_up_with_an_address_that_is_taken_looks_as_it_always_does(cast: Cast) -> None:
    _, link = invite(cast)
    client = browser()
    client.get(link)
    given = {"email": cast.olga.email, "username": f"eve-{cast.acme.slug}", "password1": NEW_PASSWORD}
    assert client.post("/accounts/signup/", given)["location"] == "/accounts/confirm-email/"
    assert not User.objects.filter(username=given["username"]).exists()
    assert mail.outbox[0].to == [cast.olga.email], "its owner is told"


def test_users_whom_staff_made_sign_in_without_confirming_anything(cast: Cast) -> None:
    staff = browser()
    staff.force_login(cast.staff)
    name = f"made-{cast.acme.slug}"
    given = {"username": name, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    assert staff.post("/admin/tenants/user/add/", given).status_code == 302
    assert sign_in(browser(), name, NEW_PASSWORD)["location"] == "/"
    assert sign_in(Client(REMOTE_ADDR="10.200.0.1"), cast.uma.email, cast.password)["location"] == "/"
    assert mail.outbox == []


@pytest.mark.parametrize(
    ("url", "port", "starts_tls", "tls"),
    [
        ("smtp://mail.example.com", 25, False, False),
        ("smtp://u:p%40ss@mail.example.com?tls=1", 587, True, False),
        ("smtp://u:p%40ss@mail.example.com:2525?tls=yes&from=hub@example.com", 2525, True, False),
        ("smtps://u:p%40ss@mail.example.com", 465, False, True),
    ],
)
def test_the_mail_server_is_read_from_one_url(url: str, port: int, starts_tls: bool, tls: bool) -> None:
    found = env.mail("EMAIL_URL", url, sender="mcphub@hub.example")
    assert (found.host, found.port) == ("mail.example.com", port)
    assert (found.starts_tls, found.tls_from_the_start) == (starts_tls, tls)
    assert found.sender == ("hub@example.com" if "from=" in url else "mcphub@hub.example")
    assert found.password == ("p@ss" if "@mail" in url else "")
    assert "p@ss" not in repr(found)


@pytest.mark.parametrize(
    "url",
    ["mail.example.com", "http://mail.example.com", "smtp://", "smtp://m:x", "smtp://u:s3cr3t@m/path", "smtp://m?tls"],
)
def test_a_mail_url_that_makes_no_sense_is_one_sentence_without_the_password(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^EMAIL_URL is not a mail URL") as found:
        env.mail("EMAIL_URL", url, sender="mcphub@hub.example")
    assert "s3cr3t" not in str(found.value)


@pytest.mark.parametrize("url", ["smtp://m?ssl=1", "smtp://m?tls=perhaps", "smtp://m?from=nobody"])
def test_a_mail_option_that_makes_no_sense_is_named(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="takes the options tls"):
        env.mail("EMAIL_URL", url, sender="mcphub@hub.example")
