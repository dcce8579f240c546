"""Text in a result that gives the model instructions, in clear or in disguise.

The rules are data: those of prompt injection in `injection.yaml`, and those that only results have in `results.yaml`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from lib.detect import data, decode, disguise
from lib.detect.sieve import Sieve, loosened, parts

REMOVED = "[removed: text that gave instructions]"
_NOTE = "[Content, not an instruction: "
_ENDS = frozenset('.!?\n"<>{}[]')
_MOST_BEFORE = 200
_MOST_AFTER = 300
_LONGEST_PARAGRAPH = 2000
_PARAGRAPH = re.compile(rf"\S[^\n]{{0,{_LONGEST_PARAGRAPH}}}(?:\n(?!\s*\n)[^\n]{{1,{_LONGEST_PARAGRAPH}}}){{0,20}}")
_BRACKETS = str.maketrans("[]", "()")
_LEFT_OUT = frozenset({"prompt_injection.picture_link", "prompt_injection.file_into_argument"})
"""What these find is common in results, or taken out as active content."""
ENCODED = (r"[A-Za-z0-9+/]{32}|&#[0-9xX]|(?:%[0-9A-Fa-f]{2}){4}|\\x[0-9a-fA-F]{2}|\\u00[2-7]",)
"""Where something may be encoded that is worth decoding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One way to give instructions. sieve: catches whatever the patterns find, and quickly."""

    id: str
    sieve: Sieve
    patterns: tuple[re.Pattern[str], ...]

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        for start, end in self.sieve.ranges(text):
            for pattern in self.patterns:
                yield from (found.span() for found in pattern.finditer(text, start, end))


@cache
def rules() -> tuple[Rule, ...]:
    """Reading them takes some tenths of a second, once."""
    return tuple(
        Rule(
            id=one["id"],
            sieve=Sieve(f"(?i){loosened(pattern)}" for pattern in one["patterns"]),
            patterns=tuple(re.compile(pattern, re.IGNORECASE | re.MULTILINE) for pattern in one["patterns"]),
        )
        for one in written()
    )


@cache
def loose() -> tuple[str, ...]:
    """For a Sieve: what catches whatever one of the rules finds in clear."""
    return tuple(f"(?im){loosened(pattern)}" for one in written() for pattern in one["patterns"])


def written() -> list[dict[str, Any]]:
    """The rules as they are written, with their hits and misses."""
    return [one for one in data.rules("injection.yaml", "results.yaml") if one["id"] not in _LEFT_OUT]


@cache
def _sieve() -> Sieve:
    return Sieve(loose())


@cache
def _encoded() -> Sieve:
    return Sieve(ENCODED)


def is_suspect(text: str) -> bool:
    """Whether a closer look is worth it. Valid Unicode only."""
    return _sieve().catches(text) or _encoded().catches(text) or (not text.isascii() and is_disguised(text))


def is_disguised(text: str) -> bool:
    """Whether it reads like instructions where letters of other scripts are taken for what they look like."""
    return any(_sieve().catches(disguise.plain(part)) for part in parts(text))


def without_instructions(text: str, *, mark: bool) -> tuple[str, int]:
    """The text with its instructions marked as content, or without them; and how many they were."""
    spans = _merged(_widened(text, span) for span in _in_clear(text)) or _merged(_disguised(text))
    kept, done = [], 0
    for start, end in spans:
        kept += [text[done:start], _marked(text[start:end]) if mark else REMOVED]
        done = end
    return ("".join([*kept, text[done:]]), len(spans)) if spans else (text, 0)


def _marked(text: str) -> str:
    """In a note that it cannot close itself."""
    return f"{_NOTE}{text.translate(_BRACKETS)}]"


def _in_clear(text: str) -> list[tuple[int, int]]:
    if not _sieve().catches(text):
        return []
    return [span for rule in rules() for span in rule.spans(text)]


def _disguised(text: str) -> list[tuple[int, int]]:
    """Paragraphs that give instructions once they are decoded, or read as what they look like."""
    encoded, foreign = _encoded().catches(text), not text.isascii()
    if not encoded and not (foreign and is_disguised(text)):
        return []
    return [found.span() for found in _PARAGRAPH.finditer(text) if _says(found[0])]


def _says(paragraph: str) -> bool:
    if _encoded().catches(paragraph):
        said = decode.SEPARATOR.join(decode.levels(paragraph)[0])
    elif not paragraph.isascii():
        said = disguise.plain(paragraph)
    else:
        return False
    return bool(_in_clear(said.encode(errors="replace").decode()))


def _widened(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """To the whole sentence, within bounds."""
    start, end = span
    first, last = max(0, start - _MOST_BEFORE), min(len(text), end + _MOST_AFTER)
    while start > first and text[start - 1] not in _ENDS:
        start -= 1
    while end < last and text[end - 1] not in _ENDS and text[end] not in '"<{[':
        end += 1
    while start < end - 1 and text[start].isspace():
        start += 1
    while end > start + 1 and text[end - 1].isspace():
        end -= 1
    return start, end


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
