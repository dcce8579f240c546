"""Making the weights of the built-in classifier, and measuring it: `python -m lib.detect.train [--write]`.

The same corpus gives the same weights. Without `--write` it only says the figures that the documents state.
"""

import base64
import json
import math
import random
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lib.detect import attacks, classifier, data
from lib.detect.classifier import BUCKETS, Builtin, Features, features, squashed

_FOLDS = 5
_HELD_OUT = 4
_ROUNDS = 15
_RATE = 0.1
_DECAY = 1e-3
_ACCEPTED = 0.04
"""The share of near misses that may be taken for attacks: people stop listening to what cries wolf."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One text of the corpus. fold: from 0 to 4; those of 4 are held out of the committed weights."""

    text: str
    attack: bool
    style: str
    fold: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """How often it was right. false_alarms: the share of harmless texts that it took for attacks."""

    precision: float
    recall: float
    false_alarms: float

    def __str__(self) -> str:
        return f"precision {self.precision:.3f}, recall {self.recall:.3f}, false alarms {self.false_alarms:.3f}"


def corpus() -> list[Example]:
    written: Mapping[str, Mapping[str, Sequence[str]]] = data.read("corpus.yaml")
    return [
        Example(text=text, attack=kind == "attacks", style=f"{kind}.{style}", fold=number % _FOLDS)
        for kind, styles in written.items()
        for style, texts in styles.items()
        for number, text in enumerate(texts)
    ]


def held_out(examples: Iterable[Example]) -> list[Example]:
    return [one for one in examples if one.fold == _HELD_OUT]


def learnt_from(examples: Iterable[Example]) -> list[Example]:
    return [one for one in examples if one.fold != _HELD_OUT]


def train(examples: Sequence[Example]) -> tuple[bytes, float, float]:
    """Weights in a byte each, what 127 of them stands for, and the bias, which lets few of the harmless pass for
    attacks: as few of those that it did not learn from."""
    kept = sorted({one.fold for one in examples})
    unseen: list[float] = []
    for fold in kept if len(kept) > 1 else ():
        weights, bias = _fit([one for one in examples if one.fold != fold])
        unseen += [_total(weights, bias, one) for one in examples if one.fold == fold and not one.attack]
    weights, bias = _fit(examples)
    unseen.sort(reverse=True)
    if unseen:
        bias -= max(0.0, unseen[int(len(unseen) * _ACCEPTED)])
    scale = max(map(abs, weights))
    return bytes(round(127 * weight / scale) & 0xFF for weight in weights), scale, bias


def _fit(examples: Sequence[Example]) -> tuple[list[float], float]:
    """Logistic regression by stochastic gradient descent (Adagrad)."""
    weights, seen, bias = [0.0] * BUCKETS, [1e-8] * BUCKETS, 0.0
    rows = [(features(one.text), one.attack) for one in examples]
    shares = {present: _shares(present) for present, _ in rows}
    order = random.Random(7)  # noqa: S311 - the same shuffle each time is the point
    for _ in range(_ROUNDS):
        order.shuffle(rows)
        for present, attack in rows:
            wrong = squashed(bias + present.total(weights)) - attack
            bias -= 0.02 * wrong
            for buckets, share in shares[present]:
                for one in buckets:
                    slope = wrong * share + _DECAY * weights[one]
                    seen[one] += slope * slope
                    weights[one] -= _RATE * slope / math.sqrt(seen[one])
    return weights, bias


def _shares(present: Features) -> list[tuple[list[int], float]]:
    """In an order of their own: sets have another one in each process, and sums would differ in their last digits."""
    return [(sorted(present.grams), present.gram_share), (sorted(present.ideas), present.idea_share)]


def _total(weights: Sequence[float], bias: float, one: Example) -> float:
    return bias + features(one.text).total(weights)


def builtin_from(examples: Sequence[Example]) -> Builtin:
    weights, scale, bias = train(examples)
    return Builtin(weights, scale=scale, bias=bias)


def figures(hits: Sequence[bool], examples: Sequence[Example]) -> Figures:
    """hits: what was said of each example, in their order."""
    caught = sum(hit for hit, one in zip(hits, examples, strict=True) if one.attack)
    false = sum(hit for hit, one in zip(hits, examples, strict=True) if not one.attack)
    there = sum(one.attack for one in examples)
    return Figures(
        precision=caught / (caught + false) if caught + false else 1.0,
        recall=caught / there if there else 0.0,
        false_alarms=false / (len(examples) - there) if len(examples) > there else 0.0,
    )


def judged(judge: classifier.Classifier, examples: Sequence[Example]) -> list[bool]:
    return [judge.score(one.text) >= classifier.THRESHOLD for one in examples]


def matched(examples: Sequence[Example]) -> list[bool]:
    """What the patterns of stage one find, with every detector on."""
    return [bool(attacks.found(one.text, attacks.DETECTORS)) for one in examples]


def cross_validated(examples: Sequence[Example], groups: Sequence[Sequence[Example]]) -> Figures:
    """Each group judged by what was learnt from all the others."""
    hits: list[bool] = []
    order: list[Example] = []
    for group in groups:
        out = set(map(id, group))
        hits += judged(builtin_from([one for one in examples if id(one) not in out]), group)
        order += group
    return figures(hits, order)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main(arguments: Sequence[str]) -> None:
    examples = corpus()
    folds = [[one for one in examples if one.fold == number] for number in range(_FOLDS)]
    styles = [[one for one in examples if one.style == style] for style in sorted({one.style for one in examples})]
    weights, scale, bias = train(learnt_from(examples))
    judge = Builtin(weights, scale=scale, bias=bias)
    held = held_out(examples)
    _say(f"{len(examples)} texts, {sum(one.attack for one in examples)} of them attacks")
    _say(f"held out ({len(held)}): {figures(judged(judge, held), held)}")
    _say(f"the patterns on them: {figures(matched(held), held)}")
    _say(f"both on them: {figures([a or b for a, b in zip(judged(judge, held), matched(held), strict=True)], held)}")
    _say(f"cross-validated in {_FOLDS} folds: {cross_validated(examples, folds)}")
    _say(f"a whole style unseen: {cross_validated(examples, styles)}")
    begun = time.perf_counter()
    judged(judge, examples)
    _say(f"{(time.perf_counter() - begun) / len(examples) * 1e6:.0f} microseconds a text")
    if "--write" in arguments:
        kept = {"weights": base64.b64encode(weights).decode(), "scale": round(scale, 6), "bias": round(bias, 6)}
        classifier.WEIGHTS.write_text(json.dumps(kept) + "\n", encoding="utf-8")
        _say(f"written to {classifier.WEIGHTS.name}")


if __name__ == "__main__":
    main(sys.argv[1:])
