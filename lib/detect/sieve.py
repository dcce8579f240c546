"""A quick look over a text: whether anything in it is worth a closer one."""

import re
from collections.abc import Callable, Iterable, Iterator

from pydantic_core import SchemaValidator, core_schema

_TOGETHER = 24
"""Patterns for one automaton. It is built as texts come in, within a bound: of many more at once it would outgrow that
once it has seen enough different texts, and from then on take hundreds of times as long for each."""
_WINDOW = 4096
_OVERLAP = 1024
"""Nothing that is searched for in windows is longer, but for what goes on to the end of a word."""
_REST = re.compile(r"\S{0,8192}+")
_PIECE = 32_768
_LOOK_AROUND = re.compile(r"\(\?(?:<?[!=])")
_REPEATED = re.compile(r"(?<!\\)\{([0-9]+),[0-9]+\}\+?")
_LETTER = re.compile(r"(\[\^(?:[^\]\\]|\\.)*\])|\\[wb]")

Cleaner = Callable[[str], tuple[str, int]]
"""Gives a text as it may be kept, and how many finds it took out or marked."""


class Sieve:
    """Many patterns at once, by the engine that pydantic brings (Rust's): microseconds for a page, and linear in the
    text whatever comes in. Patterns have neither look-around nor back references. Lone surrogates match nothing.
    """

    __slots__ = ("_validators",)

    def __init__(self, patterns: Iterable[str]):
        grouped = [f"(?:{pattern})" for pattern in patterns]
        joined = ("|".join(grouped[start : start + _TOGETHER]) for start in range(0, len(grouped), _TOGETHER))
        self._validators = tuple(SchemaValidator(core_schema.str_schema(pattern=one, strict=True)) for one in joined)

    def catches(self, text: str) -> bool:
        for one in self._validators:  # noqa: SIM110 - a generator takes as long as the look at a short text
            if one.isinstance_python(text):
                return True
        return False

    def clean(self, text: str, cleaner: Cleaner) -> tuple[str, int]:
        """The text with what `cleaner` does where something was caught; it sees only the surroundings of that."""
        kept, done, count = [], 0, 0
        for start, end in self.ranges(text):
            cleaned, found = cleaner(text[start:end])
            kept += [text[done:start], cleaned]
            done, count = end, count + found
        return ("".join([*kept, text[done:]]), count) if count else (text, 0)

    def ranges(self, text: str) -> Iterator[tuple[int, int]]:
        """Where something was caught, with its surroundings, as ranges that do not touch."""
        if not self.catches(text):
            return
        if len(text) <= 2 * _WINDOW:
            yield 0, len(text)
            return
        begun, until = -1, 0
        for start in range(0, len(text), _WINDOW):
            end = min(start + _WINDOW + _OVERLAP, len(text))
            if begun >= 0 and start > until:
                yield begun, until
                begun = -1
            if self.catches(text[start:end]):
                begun, until = (start if begun < 0 else begun), _REST.match(text, end).end()  # type: ignore[union-attr]
        if begun >= 0:
            yield begun, until


def parts(text: str) -> Iterator[str]:
    """The text in pieces, which overlap, for a look that holds up all other threads."""
    for start in range(0, max(1, len(text) - _OVERLAP), _PIECE - _OVERLAP):
        yield text[start : start + _PIECE]


def finds(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """What a pattern finds that finds nothing longer than a window's overlap. A search holds up all other threads; this
    one lets them go on between pieces."""
    at = 0
    while at < len(text):
        end = min(at + _PIECE, len(text))
        sure = end if end == len(text) else end - _OVERLAP
        for found in pattern.finditer(text, at, end):
            if found.start() >= sure:
                break
            yield found
            at = found.end()
        at = max(at, sure)


def loosened(pattern: str) -> str:
    """A pattern of Python's re that matches wherever this one does, and perhaps elsewhere: one that a Sieve takes, and
    is quick with. Without look-around, and without an end to what repeats.
    """
    while found := _LOOK_AROUND.search(pattern):
        pattern = pattern[: found.start()] + pattern[_closing(pattern, found.start()) + 1 :]
    pattern = _REPEATED.sub(lambda found: "*" if found[1] == "0" else "+", pattern)
    return _LETTER.sub(_in_ascii if pattern.isascii() else _anywhere, pattern)


def _in_ascii(found: re.Match[str]) -> str:
    """Word boundaries of ASCII, and whatever is no space for a letter: all scripts would make the automaton large, and
    their boundaries slow. A negated class is left as it is."""
    return found[1] or (r"\S" if found[0] == r"\w" else r"(?-u:\b)")


def _anywhere(found: re.Match[str]) -> str:
    return found[1] or (r"\S" if found[0] == r"\w" else "")


def _closing(pattern: str, at: int) -> int:
    """Where the parenthesis closes that opens here."""
    depth, in_class = 0, False
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif in_class:
            in_class = char != "]"
        elif char in "[()":
            in_class = char == "["
            depth += {"(": 1, ")": -1}.get(char, 0)
            if depth == 0 and char == ")":
                return at
        at += 1
    raise ValueError("a parenthesis is open")
