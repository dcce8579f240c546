"""Waiting for what another process does: ask until it is so, or say what it was instead."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

_PAUSE = 0.01


def until(condition: Callable[[], Found], within: float = 30) -> Found:
    """The first true answer of `condition`; AssertionError with the last answer after `within` seconds.

    They are for what never comes, so they are many: a machine with all its cores busy starts a process in ten.
    """
    deadline = time.monotonic() + within
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"still {answer!r} after {within} s"
        time.sleep(_PAUSE)
    return answer
