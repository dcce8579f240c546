"""Texts made to be slow: four times as much may take some four times as long, and not sixteen."""

import time
from collections.abc import Callable

_MOST = 1_000_000
_LEAST_SECONDS = 1.0
"""What caches and a busy machine may add; quadratic work on this much text takes minutes."""


def assert_in_proportion(look: Callable[[str], object], unit: str, *, before: str = "", most: int = _MOST) -> None:
    """That `look` takes time in proportion to a text of many units, after what stands before them."""
    quarter, whole = (before + unit * (length // len(unit)) for length in (most // 4, most))
    look(before + unit)  # what is read or compiled once
    short, full = _seconds(look, quarter), _seconds(look, whole)
    assert full < 8 * short + _LEAST_SECONDS, (short, full)


def _seconds(look: Callable[[str], object], text: str) -> float:
    """Of this process, so that others do not count."""
    began = time.process_time()
    look(text)
    return time.process_time() - began
