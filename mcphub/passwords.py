"""Hashing passwords, which is slow on purpose: only a few at once, so that strangers cannot take the whole machine."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

AT_ONCE = max(1, len(os.sched_getaffinity(0)) - 1)
"""Passwords that one process hashes at the same time; a core is left for everything else."""
WAIT_SECONDS = 2.0
"""How long one waits for its turn."""

_turns = threading.BoundedSemaphore(AT_ONCE)


class Busy(Exception):
    """Too many passwords are being checked; asking again in a moment helps."""


class Hasher(PBKDF2PasswordHasher):
    """Django's own hashes, a few at once, holding no database connection outside transactions.

    Raises Busy when no turn comes.
    """

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        with _turn():
            return super().encode(password, salt, iterations)


@contextmanager
def _turn() -> Iterator[None]:
    if not connection.in_atomic_block:
        connection.close()
    if not _turns.acquire(timeout=WAIT_SECONDS):
        raise Busy
    try:
        yield
    finally:
        _turns.release()


class BusyMiddleware:
    """Answers Busy with a page that says so, whichever form it came from; what the page had begun is undone."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, problem: Exception) -> HttpResponse | None:
        if not isinstance(problem, Busy):
            return None
        answer = render(request, "429_busy.html", status=429)
        answer.headers["Retry-After"] = "5"
        if connection.in_atomic_block:
            transaction.set_rollback(True)
        return answer
