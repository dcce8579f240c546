"""Text that is not what it looks like: characters nobody sees, and letters that look like others (Unicode TR36, TS39).

Every function is linear in the text, also on text that was made to be slow. ASCII is answered at once.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise

from lib.detect.lookalikes import LOOKALIKES

_CONTROL = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f"
_ASCII_CONTROL = re.compile(f"[{_CONTROL}]")
_SUSPECT = re.compile(rf"[{_CONTROL}\x80-\x9f\u115f\u1160\u3164\uffa0]|[^\w\s\x00-\x7f]")
"""What can be hidden at all: no letter or digit but the Hangul fillers, and no space."""
_BREAKS = re.compile("[\x0b\x0c\x1c-\x1f\x85\u2028\u2029]")
_MARKS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
"""Accents and other marks on Latin, Greek and Cyrillic letters."""
_CROWD = re.compile(r"[^\w\s\x00-\x7f]{31,}")
_MOST_MARKS = 30
"""Unicode TR15, Stream-Safe Text: no language puts more on one letter, and sorting more of them is quadratic."""
_SEPARATORS = re.compile(r"[\W_]+")
_FLAGS = frozenset("".join(chr(0xE0000 + ord(letter)) for letter in flag) for flag in ("gbeng", "gbsct", "gbwls"))
_FLAG = re.compile("\U0001f3f4([\U000e0020-\U000e007e]{5})\U000e007f")
"""The only flags that are written with tags (Unicode TS51, RGI emoji tag sequences)."""


class What(StrEnum):
    """What kind of character was found hidden."""

    ZERO_WIDTH = "zero-width character"
    BIDI = "control of the writing direction"
    TAG = "tag character"
    VARIATION = "variation selector"
    SOFT_HYPHEN = "soft hyphen"
    CONTROL = "control character"
    PRIVATE = "private-use character"
    UNASSIGNED = "unassigned character"


@dataclass(frozen=True, slots=True)
class Hidden:
    """One character that nobody sees. position: its index in the text. code: its code point."""

    position: int
    code: int
    what: What


def invisible(text: str) -> list[Hidden]:
    """The hidden characters of a text, in order; those that a script or an emoji needs are none."""
    return [Hidden(at, ord(text[at]), what) for at, what in _hidden(text)]


def hides(text: str) -> bool:
    """Whether there is any; it looks no further than the first."""
    return next(_hidden(text), None) is not None


def without_invisible(text: str) -> tuple[str, int]:
    """The text without its hidden characters, and how many they were."""
    kept, start, count = [], 0, 0
    for at, _ in _hidden(text):
        if at > start:
            kept.append(text[start:at])
        start, count = at + 1, count + 1
    return ("".join([*kept, text[start:]]), count) if count else (text, 0)


def marked(text: str) -> str:
    """The text for people to read: what nobody sees in it, and what breaks a line where none is expected, is shown by
    its number, like [U+200B]."""
    kept, start = [], 0
    for one in invisible(text):
        kept += [text[start : one.position], _number(one.code)]
        start = one.position + 1
    return _BREAKS.sub(lambda found: _number(ord(found[0])), "".join([*kept, text[start:]]))


def _number(code: int) -> str:
    return f"[U+{code:04X}]"


def plain(text: str) -> str:
    """The text as it reads: for searching, not for showing.

    Compatibility forms (NFKC), accents, hidden characters and look-alike letters are gone; case and line breaks stay.
    """
    if text.isascii():
        return _ASCII_CONTROL.sub(_space_or_nothing, text) if _ASCII_CONTROL.search(text) else text
    text = _BREAKS.sub(" ", text)
    text = _SUSPECT.sub(lambda found: "" if _kind(found[0]) else found[0], text)
    text = _CROWD.sub(_thinned, _MARKS.sub("", text))
    text = _MARKS.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFC", text).translate(LOOKALIKES)


def skeleton(name: str) -> str:
    """What a name looks like at a glance; names of equal skeletons are taken for each other."""
    letters = _SEPARATORS.sub("", plain(name).replace("|", "l").lower())
    for digit, letter in (("0", "o"), ("1", "l"), ("i", "l"), ("rn", "m"), ("vv", "w")):
        letters = letters.replace(digit, letter)
    return letters


def mixed_scripts(word: str) -> bool:
    """Whether letters of several alphabets stand within one word so that one can pass for the other.

    One Greek letter in a unit or a name of science does not count, nor does an ending in another alphabet.
    """
    return not word.isascii() and any(_mixed(run) for run in _letter_runs(word))


def _hidden(text: str) -> Iterator[tuple[int, What]]:
    """Where they are, and of what kind."""
    if text.isascii():
        for found in _ASCII_CONTROL.finditer(text):
            yield found.start(), What.CONTROL
        return
    context = _Context(text)
    for found in _SUSPECT.finditer(text):
        what = _kind(found[0])
        if what is not None and not context.needs(found.start(), what):
            yield found.start(), what


_ZERO_WIDTH = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\u200b\u200c\u200d\u2060\ufeff")
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SHOWN = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""Format characters that are drawn: signs of Arabic, Syriac and Kaithi numbers."""


@lru_cache(maxsize=8192)
def _kind(char: str) -> What | None:
    """What a character is when it is of a kind that nobody sees, wherever it stands."""
    code = ord(char)
    if char in _ZERO_WIDTH:
        return What.ZERO_WIDTH
    if char in _DIRECTION:
        return What.BIDI
    if 0xE0000 <= code <= 0xE007F:
        return What.TAG
    if 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF or 0x180B <= code <= 0x180F:
        return What.VARIATION
    if code == 0xAD:
        return What.SOFT_HYPHEN
    category = unicodedata.category(char)
    if category == "Co":
        return What.PRIVATE
    if category in ("Cn", "Cs"):
        return None if _may_be_newer(code) else What.UNASSIGNED
    if category == "Cf" and char not in _SHOWN and not 0x13430 <= code <= 0x1345F:
        return What.ZERO_WIDTH
    return What.CONTROL if category == "Cc" and char not in "\n\r\t" else None


def _may_be_newer(code: int) -> bool:
    """Whether later versions of Unicode than Python knows put emoji or ideographs there."""
    return 0x1F000 <= code <= 0x1FAFF or (0x20000 <= code <= 0x3FFFD and code & 0xFFFF < 0xFFFE)


class _Context:
    """Where in one text a character of a hidden kind does its proper work."""

    __slots__ = ("_flags", "_right_to_left", "_text")

    def __init__(self, text: str):
        self._text = text
        self._flags: frozenset[int] | None = None
        self._right_to_left: bool | None = None

    def needs(self, at: int, what: What) -> bool:
        before = self._text[at - 1] if at else ""
        after = self._text[at + 1] if at + 1 < len(self._text) else ""
        char = self._text[at]
        if what is What.ZERO_WIDTH:
            return _joins(char, before, after) or (char == "\ufeff" and at == 0)
        if what is What.VARIATION:
            return _varies(char, before, after)
        if what is What.BIDI:
            return char in "\u061c\u200e\u200f" and not _is_hidden(before) and not _is_hidden(after) and self._rtl()
        return what is What.TAG and at in self._tags_of_flags()

    def _rtl(self) -> bool:
        if self._right_to_left is None:
            self._right_to_left = _RTL.search(self._text) is not None
        return self._right_to_left

    def _tags_of_flags(self) -> frozenset[int]:
        if self._flags is None:
            flags = (found for found in _FLAG.finditer(self._text) if found[1] in _FLAGS)
            self._flags = frozenset(at for found in flags for at in range(found.start() + 1, found.end()))
        return self._flags


_RTL = re.compile("[\u0590-\u05ff\u0620-\u08ff\ufb1d-\ufdcf\ufdf0-\ufdff\ufe70-\ufefc\U00010800-\U00010fff]")
_CURSIVE = re.compile("[\u0600-\u0603\u0620-\u07ff\u0840-\u0dff\u1000-\u109f\u1780-\u18af\ufb50-\ufdcf\ufe70-\ufefc]")
"""Scripts whose letters join or stack: Arabic, Syriac, N'Ko, those of India, Burmese, Khmer, Mongolian."""
_UNSPACED = re.compile("[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1980-\u19df]")
"""Scripts that set no spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, Tai."""
_PICTURE = re.compile(
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd]")


def _joins(char: str, before: str, after: str) -> bool:
    """Whether a zero-width character joins or parts what stands around it, as its script asks."""
    if char == "\u200d" and _PICTURE.match(after) and (_PICTURE.match(before) or before == "\ufe0f"):
        return True
    if char in "\u200c\u200d":
        return bool(_CURSIVE.match(before)) and not _is_hidden(after) and not ("!" <= after <= "~")
    if char == "\u200b":
        return bool(_UNSPACED.match(before) and _UNSPACED.match(after))
    return char in "\u17b4\u17b5" and bool(_CURSIVE.match(before))


def _varies(char: str, before: str, after: str) -> bool:
    """Whether a variation selector stands behind a character that has variations."""
    if char in "\ufe0e\ufe0f":
        return bool(_PICTURE.match(before)) or (before in "0123456789#*" and after == "\u20e3")
    if "\u180b" <= char <= "\u180f":
        return "\u1820" <= before <= "\u18aa"
    mathematical = "\u2200" <= before <= "\u22ff" and char == "\ufe00"
    return mathematical or bool(_IDEOGRAPH.match(before) and (char >= "\U000e0100" or char <= "\ufe02"))


def _is_hidden(char: str) -> bool:
    return bool(char) and _kind(char) is not None


def _space_or_nothing(found: re.Match[str]) -> str:
    return " " if _BREAKS.match(found[0]) else ""


def _thinned(found: re.Match[str]) -> str:
    """A run of signs in which no more than so many combining marks follow each other."""
    kept, marks = [], 0
    for char in found[0]:
        marks = marks + 1 if unicodedata.combining(char) else 0
        if marks <= _MOST_MARKS:
            kept.append(char)
    return "".join(kept)


_LETTERS = re.compile(r"[^\W\d_]+")
_SCIENCE = frozenset("αβγδεθκλμπσφψωΓΔΘΛΠΣΦΨΩ")
_TOGETHER = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO"})


def _letter_runs(word: str) -> list[str]:
    """The runs of letters of a word. Its marks are dropped first, as they would cut it into pieces."""
    return _LETTERS.findall(_MARKS.sub("", word))


def _mixed(run: str) -> bool:
    scripts = [(char, _script(char)) for char in run]
    foreign = [(char, script) for char, script in scripts if script not in _TOGETHER]
    names = {script for _, script in foreign if script}
    if len(names) < 2:
        return False
    greek = [char for char, script in foreign if script == "GREEK"]
    if names == {"LATIN", "GREEK"} and len(greek) == 1 and greek[0] in _SCIENCE:
        return False
    return not _is_ending(foreign)


def _is_ending(letters: list[tuple[str, str]]) -> bool:
    """Whether one alphabet ends where the other begins, and the other has a letter that no Latin one looks like."""
    switches = sum(one != other for (_, one), (_, other) in pairwise(letters))
    others = [char for char, script in letters if script != "LATIN"]
    return switches == 1 and len(others) < len(letters) and any(ord(char) not in LOOKALIKES for char in others)


@lru_cache(maxsize=8192)
def _script(char: str) -> str:
    """The first word of a letter's name, which names its script; "" for what belongs to none."""
    if char.isascii():
        return "LATIN"
    name = unicodedata.name(unicodedata.normalize("NFKD", char)[0], "")
    first = name.partition(" ")[0]
    return "" if first in ("", "MODIFIER", "FEMININE", "MASCULINE") else first
