"""Stage two of input inspection: how much a text reads like an instruction to a model, or to misuse a tool.

Behind an interface, so that a better one can take its place. The built-in one is small and runs in this process: a
logistic regression over hashed words, pairs of words, runs of four letters, and the concepts that words stand for.
`lib.detect.train` makes its weights from `corpus.yaml`; its figures are in docs/reference/inspection.md.
"""

import base64
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol, runtime_checkable
from zlib import crc32

from django.utils.module_loading import import_string

from lib.detect.concepts import concepts
from lib.detect.decode import SEPARATOR

BUILTIN: Final = "builtin"
THRESHOLD: Final = 0.5
"""From this score on it is a hit."""
MOST_SCORED: Final = 16384
"""Characters that are judged in all; the rest is too long."""
BUCKETS: Final = 1 << 15
WEIGHTS: Final = Path(__file__).with_name("classifier.json")
_WINDOW = 240
_STEP = 160
_SHORTEST = 12
_SPACES = re.compile(r"\s+")
_WORD = re.compile(r"\w+")
_DIGIT = re.compile(r"\d+")


@runtime_checkable
class Classifier(Protocol):
    """What judges text. It is asked on the event loop, and in a thread beside it, so it has to answer within
    milliseconds and without waiting, and to bear two questions at once."""

    def score(self, text: str) -> float:
        """How surely this text is an attack, from 0 to 1. It has at most some hundred characters."""
        ...


class Builtin:
    """The hub's own. scale: what a weight of 127 stands for."""

    def __init__(self, weights: bytes, *, scale: float, bias: float):
        self._weights = memoryview(weights).cast("b")
        self._scale = scale
        self._bias = bias

    @classmethod
    def read(cls, path: Path = WEIGHTS) -> "Builtin":
        kept = json.loads(path.read_text(encoding="utf-8"))
        return cls(base64.b64decode(kept["weights"]), scale=kept["scale"], bias=kept["bias"])

    def score(self, text: str) -> float:
        return squashed(self._bias + self._scale / 127 * features(text).total(self._weights))


@dataclass(frozen=True, slots=True)
class Features:
    """The buckets that a text falls into, by its letters and by its concepts. Its length does not weigh."""

    grams: frozenset[int]
    ideas: frozenset[int]

    def total(self, weights: Sequence[float] | memoryview) -> float:
        grams = sum([weights[one] for one in self.grams])
        ideas = sum([weights[one] for one in self.ideas])
        return grams * self.gram_share + ideas * self.idea_share

    @property
    def gram_share(self) -> float:
        return 1 / math.sqrt(len(self.grams) or 1)

    @property
    def idea_share(self) -> float:
        return 2 / math.sqrt(len(self.ideas) or 1)


def features(text: str) -> Features:
    text = _DIGIT.sub("0", _SPACES.sub(" ", text.lower())).strip()
    words = ["^", *_WORD.findall(text), "$"]
    grams = [*words, *(f"{one} {other}" for one, other in pairwise(words))]
    padded = f" {text} "
    grams += [f"/{padded[at : at + 4]}" for at in range(len(padded) - 3)]
    return Features(frozenset(map(_bucket, grams)), frozenset(_bucket(f"#{idea}") for idea in concepts(text)))


def _bucket(feature: str) -> int:
    """CRC-32 is the same in every process, as `hash` is not."""
    return crc32(feature.encode("utf-8", "replace")) % BUCKETS


def squashed(total: float) -> float:
    """Any number as one between 0 and 1."""
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))


@cache
def load(name: str) -> Classifier | None:
    """The classifier of a setting: `builtin`, none for an empty one, or what the dotted path names, called once.

    Raises ImportError or TypeError where the path leads to nothing that can judge.
    """
    if not name:
        return None
    judge = Builtin.read() if name == BUILTIN else import_string(name)()
    if not isinstance(judge, Classifier):
        raise TypeError(f"{name} has no method score(text).")
    return judge


def suspects(judge: Classifier, texts: Iterable[str]) -> tuple[bool, bool]:
    """Whether some part of the texts is an attack to the judge, and whether it could see all of them."""
    left = MOST_SCORED
    for text in texts:
        for part in windows(text):
            if left <= 0:
                return False, False
            left -= len(part)
            if judge.score(part) >= THRESHOLD:
                return True, True
    return False, True


def windows(text: str) -> Iterator[str]:
    """Parts of a text that are as short as what was learnt from, overlapping; none where there is nothing to judge."""
    for value in text.split(SEPARATOR):
        if len(value) < _SHORTEST and value.isascii():
            continue
        for start in range(0, max(1, len(value) - (_WINDOW - _STEP)), _STEP):
            yield value[start : start + _WINDOW]
