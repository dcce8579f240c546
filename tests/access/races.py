"""Requests in the same moment."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connection

Answer = TypeVar("Answer")


def at_once(asks: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """Each on a thread and a connection of its own, let go together; their answers in the same order."""
    gate = threading.Barrier(len(asks))

    def ask(one: Callable[[], Answer]) -> Answer:
        try:
            gate.wait(30)
            return one()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(asks)) as pool:
        return list(pool.map(ask, asks))
