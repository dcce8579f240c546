"""Stage one of input inspection: bounded patterns for what attacks look like, in clear, encoded and in disguise.

The rules are data, `attacks.yaml` and `injection.yaml` beside this file, where their form is said.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from lib.detect import data, decode, disguise, secrets

TOO_LONG: Final = "too_long"
"""Found where there is more than is looked at."""
CLASSIFIER: Final = "classifier"
"""Found by stage two, lib.detect.classifier."""

_Fold = Callable[[str], str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Detector:
    """What people read of a detector. fold: what else its rules look at, made from a text in lower case. search: looks
    instead of rules, at a text as it is. decoded: also at what was encoded in it."""

    label: str
    help: str
    fold: _Fold | None = None
    search: Callable[[str], bool] | None = None
    decoded: bool = True


def _holds_secrets(text: str) -> bool:
    told = text.encode(errors="replace").decode()  # lone surrogates, which no search gets past
    return bool(secrets.without_secrets(told)[1])


def _hides(text: str) -> bool:
    return any(map(disguise.hides, text.split(decode.SEPARATOR)))


DETECTORS: Final[Mapping[str, Detector]] = {
    "shell": Detector(
        label="Shell commands",
        help="Commands that are chained, substituted, downloaded or sent to somebody else's shell.",
        fold=decode.without_quotes,
    ),
    "sql": Detector(
        label="SQL",
        help="Conditions that always hold, second statements, and queries after secrets or the catalog.",
        fold=decode.without_comments,
    ),
    "path_traversal": Detector(
        label="Paths that lead outside",
        help="Climbs out of a folder, files with secrets, file URLs, and the address of cloud credentials.",
    ),
    "script": Detector(
        label="Scripts",
        help="HTML and JavaScript that a browser would run; templates, XML and objects that run when they are read.",
    ),
    "prompt_injection": Detector(
        label="Instructions to the model",
        help="Text that tells a model to drop its rules, to act behind its person's back or to give secrets away.",
        fold=decode.without_leet,
    ),
    "secrets": Detector(
        label="Secrets",
        help="Keys, tokens and passwords, by their shape or their name, on their way out.",
        search=_holds_secrets,
    ),
    "hidden": Detector(
        label="Hidden characters",
        help="Characters that nobody sees, which carry text past whoever reads the arguments.",
        search=_hides,
        decoded=False,  # pictures in base64 are full of them
    ),
}
"""The detectors a tool can ask for, by the name that rules know them by."""

FOUND: Final = frozenset({*DETECTORS, TOO_LONG, CLASSIFIER})
"""Every name that an inspection can find."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One thing to look for. needs: one of them must be in the text before the patterns are tried, which is quicker."""

    id: str
    why: str
    needs: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...]


def known(names: Iterable[str]) -> frozenset[str]:
    """Those of the names that are detectors, whose rules are ready from then on."""
    wanted = frozenset(names) & DETECTORS.keys()
    if wanted:
        rules()
    return wanted


@cache
def rules() -> Mapping[str, tuple[Rule, ...]]:
    """All rules, by detector. Reading them takes some tenths of a second, once."""
    every = [_rule(one) for one in written()]
    return {name: tuple(rule for rule in every if rule.id.startswith(f"{name}.")) for name in DETECTORS}


def written() -> list[dict[str, Any]]:
    """The rules as they are written, with their hits and misses."""
    return data.rules("attacks.yaml", "injection.yaml")


def _rule(one: Mapping[str, Any]) -> Rule:
    return Rule(
        id=one["id"],
        why=one["why"],
        needs=tuple(one["needs"]),
        patterns=tuple(re.compile(pattern, re.MULTILINE) for pattern in one["patterns"]),
    )


def found(text: str, wanted: Collection[str]) -> frozenset[str]:
    """The detectors among `wanted` that find something in a text, and TOO_LONG where it holds more than is decoded."""
    levels, whole = decode.levels(text)
    return among(levels, wanted) if whole else among(levels, wanted) | {TOO_LONG}


def among(levels: Iterable[str], wanted: Collection[str]) -> frozenset[str]:
    """The same in a text whose levels are known. One hit is enough: the detector looks no further."""
    hits: set[str] = set()
    for depth, level in enumerate(levels):
        low = level.lower()
        hits |= {name for name in wanted if name not in hits and _finds(name, level, low, depth)}
    return frozenset(hits)


def _finds(name: str, text: str, low: str, depth: int) -> bool:
    detector = DETECTORS[name]
    if detector.search is None:
        return matching(name, low) is not None
    return (detector.decoded or not depth) and detector.search(text)


def matching(name: str, text: str) -> Rule | None:
    """The first rule of a detector that matches a text in lower case."""
    fold = DETECTORS[name].fold
    folded = text if fold is None else fold(text)
    rule = _first(rules()[name], text)
    return rule if rule is not None or folded == text else _first(rules()[name], folded)


def _first(given: tuple[Rule, ...], text: str) -> Rule | None:
    for rule in given:
        for need in rule.needs:
            if need in text:
                if any(pattern.search(text) for pattern in rule.patterns):
                    return rule
                break
    return None
