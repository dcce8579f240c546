"""Texts made to be slow: four times as much takes some four times as long, and not sixteen."""
# ruff: noqa: RUF001 - looking alike is what they are here for

import time
from collections.abc import Callable

import pytest

from lib.detect import active, attacks, disguise, instructions, links, personal, secrets
from lib.detect.known import Known

MOST = 200_000
INSPECTED = 65_536
LEAST_SECONDS = 0.3
"""What caches and a busy machine may add; quadratic work on this much text takes a minute and more."""
ALLOWED = links.allowing(["acme.example"])
KNOWN = Known(["Zq9vT3xK7mWc2LpR8sYd4NbH6gFjA1eU", "a" * 40])


def for_attacks(text: str) -> None:
    attacks.found(text[:INSPECTED], attacks.DETECTORS)


def for_instructions(text: str) -> None:
    instructions.without_instructions(text, mark=True)


def for_secrets(text: str) -> None:
    secrets.without_secrets(text)
    KNOWN.catches(text)


def for_links(text: str) -> None:
    active.without_active(f"![a][b] <img {text}", ALLOWED)
    links.without_links(text, ALLOWED, mark=True)


def for_personal_data(text: str) -> None:
    for detector in personal.DETECTORS.values():
        detector.without(text)


def for_disguise(text: str) -> None:
    disguise.plain(text)
    disguise.without_invisible(text)
    disguise.mixed_scripts(text)


TEXTS: dict[Callable[[str], None], list[str]] = {
    for_attacks: [
        "ignore ", "<script ", "' or ", "; cat ", "%25", "&#x3c;", "a-", " ", "QUJD", "union select ", "curl ",
        "(select ", "<a on", "send the password ", "12 ", "61", "${", "pretend ", "update a set b=", "do not tell ",
        "\n", "\x00", "ｉｇｎｏｒｅ ", "i\u200bg", "\nhuman: ", "a''b", "a/*", "\\x41", "\U000e0061", "\ufe01", "a_",
        "wget a ; ", "9", "{{", "{{ ", "${__class__", "<!entity ", "' ) ", "a b ", "\r\n", "eyJ/", "=", "'''",
        "select password ",
    ],
    for_instructions: [
        "ignore all previous ", "Ignore all previous instructions. ", "a", "ü", "ignore ", "QUJD", "QUJD" * 16 + " ",
        "\nä", "іgnore all previous ", "assistant: ",
    ],
    for_secrets: [
        "token", "key a ", "password=", "a", "token  ", "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY------ ",
        "://a:b", "eyJaaaaaaaaaaaa.", "eyJaaaaaaaaaa.eyJ",
    ],
    for_links: [
        "<script>", "<", "<a ", '<a "', "![", "![a](", "](", "<a onx=", "http://", "javascript:", "a=b ", "url(",
        "[a]:", "](//", 'href="', "href=", "<mailto:", "https&#58;", "https:a.", "[a removed: ", "](&", "http://[a ",
    ],
    for_personal_data: ["1", "1 ", "a@", "a.b@", "AB12", "1:", "1.", "1-", "0123 "],
    for_disguise: [
        "\u0591\u0592", "\u200b", "а", "a\u0301", "\u200f\u05d0", "\U0001f3f4", "！", "\U0001f3f4\U000e0067", "\ufdfa",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("look", "unit"),
    [pytest.param(look, unit, id=f"{look.__name__} {unit!r}") for look, units in TEXTS.items() for unit in units],
)
def test_no_text_makes_a_look_slow(look: Callable[[str], None], unit: str) -> None:
    most = INSPECTED if look is for_attacks else MOST
    quarter, whole = (unit * (length // len(unit)) for length in (most // 4, most))
    look(unit)  # what is read or compiled once
    short, full = seconds(look, quarter), seconds(look, whole)
    assert full < 8 * short + LEAST_SECONDS, (short, full)


@pytest.mark.parametrize(("before", "unit"), [("token ", " "), ("-----BEGIN PRIVATE KEY-----", "- "), ("ignore", " ")])
def test_nor_does_what_begins_and_never_ends(before: str, unit: str) -> None:
    def look(text: str) -> None:
        for_secrets(before + text)
        for_instructions(before + text)

    test_no_text_makes_a_look_slow(look, unit)


def seconds(look: Callable[[str], None], text: str) -> float:
    """Of this process, so that others do not count."""
    began = time.process_time()
    look(text)
    return time.process_time() - began
