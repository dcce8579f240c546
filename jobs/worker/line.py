"""A worker's own line to Postgres, for its main thread. What it asks by it may be asked again when no answer came."""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg

from lib import db

log = logging.getLogger(__name__)

_PAUSE = 0.1
_LONGEST_PAUSE = 1.0
_CONNECT_SECONDS = 3


class Line:
    """One connection, opened when it is needed and again when it broke; for one thread."""

    def __init__(self, name: str):
        self._name = name
        self._connection: psycopg.Connection[Any] | None = None

    def ask(self, query: LiteralString, parameters: Sequence[Any], *, seconds: float) -> tuple[Any, ...] | None:
        """The first row; raises one of db.UNREACHABLE when there was no answer within so many seconds."""
        end = time.monotonic() + seconds
        return self.insist(query, parameters, going_on=lambda: time.monotonic() < end, answer_within=seconds)

    def insist(
        self,
        query: LiteralString,
        parameters: Sequence[Any],
        *,
        going_on: Callable[[], bool],
        answer_within: float = db.ANSWER_SECONDS,
    ) -> tuple[Any, ...] | None:
        """The first row of a statement that does no harm when it is run twice; asked again while `going_on` says so,
        then raises one of db.UNREACHABLE."""
        pause = _PAUSE
        while True:
            try:
                return self._ask(query, parameters, answer_within)
            except db.UNREACHABLE:
                self.close()
                if not going_on():
                    raise
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def close(self) -> None:
        """Let the connection go; the next statement opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def _ask(self, query: LiteralString, parameters: Sequence[Any], seconds: float) -> tuple[Any, ...] | None:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                db.conninfo(f"-c statement_timeout={db.STATEMENT_MILLISECONDS}", f"mcphub {self._name}"),
                autocommit=True,
                connect_timeout=_CONNECT_SECONDS,
            )
        with _given_up_after(self._connection, max(seconds, 1.0)):
            cursor = self._connection.execute(query, parameters)
            found: tuple[Any, ...] | None = cursor.fetchone() if cursor.description else None
            return found


@contextmanager
def _given_up_after(connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """A backend may stall without closing its connection: then the socket is shut here, as if Postgres had."""
    timer = threading.Timer(seconds, _hang_up, [connection])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _hang_up(connection: psycopg.Connection[Any]) -> None:
    log.warning("Postgres does not answer a worker's watchdog; the connection is given up")
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)
