"""Mail leaves through a thread of its own, so that no page and no database connection waits for the mail server.

A mail that is taken and then not sent leaves an error in the log.
"""

import atexit
import contextlib
import logging
import queue
import threading
from collections.abc import Sequence

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend as Smtp

log = logging.getLogger(__name__)

ROOM = 100
"""How many mails of one process may wait for the mail server."""
DRAIN_SECONDS = 10.0
"""How long the end of a process waits for mails that are not sent yet."""


class EmailBackend(BaseEmailBackend):
    """Django's way to send, by the thread of this process."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """How many were taken; the others are in the log."""
        return sum(_outbox.take(message) for message in email_messages)


class Outbox:
    """Sends what it took, one mail after the other, in a thread that begins with the first."""

    def __init__(self, *, room: int) -> None:
        self._waiting: queue.Queue[EmailMessage] = queue.Queue(maxsize=room)
        self._beginning = threading.Lock()
        self._thread: threading.Thread | None = None

    def take(self, message: EmailMessage) -> bool:
        """Whether there was room for it; waits for nothing."""
        self._begin()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(message)
            return True
        log.error("%s was not sent: the mail server is behind by %d mails", _named(message), self._waiting.maxsize)
        return False

    def drain(self, seconds: float) -> None:
        """Wait until all was sent or tried; what still waits after so many seconds is lost, and named in the log."""
        with self._waiting.all_tasks_done:
            self._waiting.all_tasks_done.wait_for(lambda: not self._waiting.unfinished_tasks, seconds)
            if lost := self._waiting.unfinished_tasks:
                log.error("%d mails were not sent: the hub ended before the mail server took them", lost)

    def _begin(self) -> None:
        with self._beginning:
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_all, name="mail", daemon=True)
                self._thread.start()

    def _send_all(self) -> None:
        while True:
            message = self._waiting.get()
            try:
                Smtp().send_messages([message])
            except Exception:  # whatever was wrong with this one, the next may go
                log.exception("%s was not sent", _named(message))
            finally:
                self._waiting.task_done()


def drain(seconds: float = DRAIN_SECONDS) -> None:
    """Let this process end without losing a mail that can still be sent; see `Outbox.drain`."""
    _outbox.drain(seconds)


def _named(message: EmailMessage) -> str:
    """For the log: never the text, which holds links that open accounts."""
    return f"the mail {message.subject!r} to {', '.join(message.to)}"


_outbox = Outbox(room=ROOM)
atexit.register(drain)
