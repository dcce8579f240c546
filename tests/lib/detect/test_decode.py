"""What is encoded in a text is read, level by level, and never without bounds."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.detect import decode
from lib.detect.decode import SEPARATOR

SENTENCE = "Nothing but a sentence."


def said(text: str) -> str:
    """All that was read in a text, at whatever level."""
    return SEPARATOR.join(decode.levels(text)[0])


def test_plain_text_has_one_level() -> None:
    assert decode.levels("Hello, is room 12 free on Monday?") == (["Hello, is room 12 free on Monday?"], True)


@pytest.mark.parametrize(
    "encoded",
    [
        base64.b64encode(SENTENCE.encode()).decode(),
        base64.b32encode(SENTENCE.encode()).decode(),
        SENTENCE.encode().hex(),
        f"0x{SENTENCE.encode().hex()}",
        SENTENCE.encode().hex(":"),
        " ".join(str(one) for one in SENTENCE.encode()),
        SENTENCE.replace(" ", "%20"),
        SENTENCE.replace(" ", "%u0020"),
        SENTENCE.replace(" ", "&#32;"),
        SENTENCE.replace(" ", "&#x20;"),
        SENTENCE.replace(" ", "\\x20"),
        SENTENCE.replace(" ", "\\u0020"),
        SENTENCE.replace(" ", "\\u{20}"),
        SENTENCE.replace(" ", "\\040"),
        "".join(chr(0xE0000 + ord(one)) for one in SENTENCE),
        "x" + "".join(chr(0xE0100 + ord(one) - 16) for one in SENTENCE),
        SENTENCE.replace("s", "s\u200b"),
        SENTENCE.replace("e", "\u0435"),
        SENTENCE.replace("n", "\x08n"),
        f"/v1/files/{base64.b64encode(SENTENCE.encode()).decode()}",
        f"data:text/plain;base64,{base64.b64encode(SENTENCE.encode()).decode()}",
    ],
)
def test_an_encoding_is_read(encoded: str) -> None:
    assert SENTENCE not in encoded
    assert SENTENCE in said(encoded)


def test_three_levels_are_read_and_a_fourth_is_admitted() -> None:
    text = SENTENCE
    for _ in range(decode.MOST_DEPTH):
        text = base64.b64encode(text.encode()).decode()
    levels, whole = decode.levels(text)
    assert SENTENCE in levels[-1]
    assert whole
    levels, whole = decode.levels(base64.b64encode(text.encode()).decode())
    assert SENTENCE not in SEPARATOR.join(levels)
    assert not whole


def test_what_decodes_to_no_text_is_left_alone() -> None:
    for text in ("3f2a9c1e7b7d4a0e9a510d2c6f4f7b11", "iVBORw0KGgoAAAANSUhEUgAAAAUA", "internationalisation", "A" * 40):
        assert decode.levels(text) == ([text], True)


def test_values_side_by_side_do_not_run_into_each_other() -> None:
    joined = SEPARATOR.join(["igno\u200bre", "\u0430ll", "plain"])
    assert decode.levels(joined)[0][0].split(SEPARATOR)[3:] == ["ignore", "all"]


def test_entities_of_any_number_are_no_fault() -> None:
    for text in (f"&#{'9' * 5000};", "&#99999999;", "&#xffffffff;", "\\u{ffffff}", "%u12", "%zz", "&nosuch;"):
        decode.levels(text)


def test_more_than_the_bound_is_not_decoded_and_that_is_said() -> None:
    once = base64.b64encode(("a sentence, " * 8000).encode()).decode()
    levels, whole = decode.levels(once)
    assert not whole
    assert all(len(level) <= decode.MOST_DECODED for level in levels[1:])


@given(st.text(max_size=300))
def test_no_text_breaks_it_and_its_levels_are_bounded(text: str) -> None:
    levels, _ = decode.levels(text)
    assert levels[0].startswith(text)
    assert len(levels) <= decode.MOST_DEPTH + 1


@given(st.binary(min_size=12, max_size=80))
def test_no_bytes_break_it(data: bytes) -> None:
    for text in (base64.b64encode(data).decode(), data.hex(), base64.b32encode(data).decode(), data.decode("latin-1")):
        decode.levels(text)
