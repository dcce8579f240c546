"""Sending mail: no page waits for the mail server, and no mail is lost without a word."""

import logging
from collections.abc import Iterator

import pytest
from django.core.mail import EmailMessage
from django.test import override_settings

from mcphub import mail
from tests.accounts.mail_server import MailServer, running
from tests.accounts.people import browser
from tests.cast import Cast


@pytest.fixture
def server() -> Iterator[MailServer]:
    """A mail server that does not greet yet, as the hub's own."""
    with (
        running() as found,
        override_settings(
            SENDS_MAIL=True, EMAIL_BACKEND="mcphub.mail.EmailBackend", EMAIL_HOST="127.0.0.1", EMAIL_PORT=found.port
        ),
    ):
        yield found


def test_pages_do_not_wait_for_the_mail_server(cast: Cast, server: MailServer) -> None:
    answer = browser().post("/accounts/password/reset/", {"email": cast.uma.email})
    assert (answer.status_code, server.mails) == (302, [])
    server.greets.set()
    assert server.took.acquire(timeout=20)
    assert f"To: {cast.uma.email}" in server.mails[0]


def test_ending_waits_for_mails_that_can_still_be_sent(server: MailServer) -> None:
    outbox = mail.Outbox(room=5)
    for number in range(3):
        assert outbox.take(letter(f"letter {number}"))
    server.greets.set()
    outbox.drain(20)
    assert [f"Subject: letter {number}" in text for number, text in enumerate(server.mails)] == [True] * 3


def test_what_the_mail_server_is_too_late_for_is_an_error_in_the_log(
    server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = mail.Outbox(room=5)
    outbox.take(letter("one"))
    outbox.take(letter("two"))
    outbox.drain(0.01)
    assert "2 mails were not sent" in caplog.text
    server.greets.set()
    outbox.drain(20)


def test_a_mail_beyond_what_may_wait_is_refused_and_logged(
    server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = mail.Outbox(room=1)
    taken = [outbox.take(letter(f"letter {number}")) for number in range(4)]
    assert (taken[0], taken[3]) == (True, False), "one is with the mail server, one may wait"
    assert "'letter 3' to uma@example.com was not sent: the mail server is behind" in caplog.text
    server.greets.set()
    outbox.drain(20)
    assert len(server.mails) == sum(taken)


def test_a_mail_that_the_server_refuses_is_logged_without_its_text_and_the_next_one_goes(
    server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.greets.set()
    outbox = mail.Outbox(room=5)
    outbox.take(letter("first", to="nobody@refused.example"))
    outbox.take(letter("second"))
    outbox.drain(20)
    assert len(server.mails) == 1
    (said,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "'first' to nobody@refused.example was not sent" in said.getMessage()
    assert "a link" not in caplog.text


def letter(subject: str, *, to: str = "uma@example.com") -> EmailMessage:
    return EmailMessage(subject, "a link", "hub@example.com", [to])
