"""A long text is searched in pieces, and nothing that lies across their ends is lost."""

import re

import pytest

from lib.detect.sieve import Sieve, finds, parts

PLAIN = "a line of a long text. "


def long(length: int) -> str:
    return (PLAIN * (length // len(PLAIN) + 1))[:length]


@pytest.mark.parametrize("found", ["key=12345", f"key={'9' * 900}", "key=1 key=2"])
def test_what_is_found_in_pieces_is_what_is_found_at_once(found: str) -> None:
    pattern = re.compile(r"(?<!\w)key=\d{1,1000}(?!\d)")
    for at in (0, *range(32_768 - 1024 - 12, 32_768 + 12, 9), 70_000):
        text = f"{long(at)} {found} {long(40_000)}"
        assert [one.span() for one in finds(pattern, text)] == [one.span() for one in pattern.finditer(text)]


@pytest.mark.parametrize("length", [0, 1, 1024, 1025, 32_768, 32_769, 63_000, 100_000])
def test_parts_are_the_whole_text_and_overlap(length: int) -> None:
    text = long(length)
    assert "".join([part if not number else part[1024:] for number, part in enumerate(parts(text))]) == text


def test_who_cleans_sees_the_whole_word_that_was_caught() -> None:
    word = "x".join(["secret", *["abc"] * 700])
    for at in range(0, 8192, 500):
        cleaned, _ = Sieve(["secret"]).clean(
            f"{long(at)} {word} {long(20_000)}", lambda part: (part.replace(word, ""), 1)
        )
        assert "secret" not in cleaned
