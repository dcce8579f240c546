"""Identifiers that sort by time (RFC 9562 section 5.7)."""

import time

import pytest

from lib import ids


def test_an_identifier_is_a_version_7_uuid_of_this_moment() -> None:
    before = int(time.time() * 1000)
    made = ids.uuid7()
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert before <= made.int >> 80 <= int(time.time() * 1000)


def test_identifiers_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for moment in (0.001, 1.0, 1_800_000_000.0, 1_800_000_000.001, 9_999_999_999.0):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        made.append(ids.uuid7())
    assert made == sorted(made)


def test_no_two_are_the_same() -> None:
    assert len({ids.uuid7() for _ in range(10_000)}) == 10_000
