"""What words stand for, across languages, as far as `concepts.yaml` knows them."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from lib.detect import data

QUESTION: Final = "question"
NEAR: Final = 8
"""Words within which two concepts are taken together."""
_LONGEST_WHOLE = 3
"""Beginnings up to this length have to be whole words, in scripts that have spaces between words."""
_UNSPACED = "\u2e80-\u9fff\uac00-\ud7a3"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|\?")


def concepts(text: str) -> frozenset[str]:
    """The concepts of a text in lower case; which comes close before which; and which it begins with."""
    said: set[str] = set()
    recent: list[tuple[int, str]] = []
    for place, here in enumerate(_by_word(text)):
        recent = [(at, one) for at, one in recent if place - at <= NEAR]
        for concept in here:
            said.add(concept)
            said.update(f"{one}>{concept}" for _, one in recent if one != concept)
            if not place:
                said.add(f"^{concept}")
        recent += ((place, concept) for concept in here)
    return frozenset(said)


def _by_word(text: str) -> Iterator[list[str]]:
    beginnings, longest = _beginnings()
    for word in _WORD.finditer(text):
        start, end = word.span()
        if word[0] == "?":
            yield [QUESTION]
            continue
        whole = word[0][0] < "\u2e80"
        here: dict[str, None] = {}
        for stop in range(start + 1, min(len(text), start + longest) + 1):
            if whole and stop - start <= _LONGEST_WHOLE and stop != end:
                continue
            if known := beginnings.get(text[start:stop]):
                here.update(dict.fromkeys(known))
        yield list(here)


@cache
def _beginnings() -> tuple[Mapping[str, tuple[str, ...]], int]:
    """The concepts that each beginning stands for, and how long the longest beginning is."""
    written: dict[str, list[str]] = data.read("concepts.yaml")
    found: dict[str, tuple[str, ...]] = {}
    for concept, words in written.items():
        for word in words:
            found[word] = (*found.get(word, ()), concept)
    return found, max(map(len, found))
