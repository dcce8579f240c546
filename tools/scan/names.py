"""Names that are taken for others."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise

from lib.detect.disguise import skeleton
from tools.scan.rules import well_known
from tools.scan.values import Hit, Place, Scanned, Where
from tools.vocabulary import DELETES, READS, WRITES

_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_LETTERS = re.compile(r"[\W_]+")
_SHORTEST = 6
"""Words of fewer letters are too near to each other to tell a letter left out or exchanged from another word."""
_SHORTEST_OF_ALL = 3


def words(name: str) -> list[str]:
    """The words of a name in lower case, however they are joined."""
    return [word.lower() for word in _WORDS.findall(name)]


def looks_like_sister(scanned: Scanned, found: Sequence[Place], _: bool) -> Iterator[Hit]:
    for place in found:
        for sister in scanned.sisters:
            if sister != place.text and skeleton(sister) == skeleton(place.text):
                yield Hit(place=place, quote=place.text, says=f"It looks like {sister}, another tool of the tenant.")


def reads_like_sister(scanned: Scanned, found: Sequence[Place], _: bool) -> Iterator[Hit]:
    for place in found:
        for sister in scanned.sisters:
            if skeleton(sister) != skeleton(place.text) and _one_slip(words(place.text), words(sister)):
                said = f"It is one slip of the finger from {sister}, another tool of the tenant."
                yield Hit(place=place, quote=place.text, says=said)


def one_or_many_elsewhere(scanned: Scanned, found: Sequence[Place], _: bool) -> Iterator[Hit]:
    for place in found:
        for sister in _in_another_number(place, scanned):
            if sister in scanned.unlike:
                said = f"Beside it is {sister}, which is marked otherwise or leads to another host."
                yield Hit(place=place, quote=place.text, says=said)


def one_or_many(scanned: Scanned, found: Sequence[Place], _: bool) -> Iterator[Hit]:
    """Two tools of one kind are harmless as long as they read."""
    for place in found:
        for sister in _in_another_number(place, scanned) if is_risky(place.text) else ():
            if sister not in scanned.unlike:
                yield Hit(place=place, quote=place.text, says=f"Beside it is {sister}.")


def is_risky(name: str) -> bool:
    """Whether its verb says that it may do harm; the verb may stand behind what it is about."""
    risky = well_known()["verbs"]["risky"]
    first, *rest = words(name) or [""]
    return first in risky or (first not in READS | WRITES and any(word in risky for word in rest[:1]))


def _in_another_number(place: Place, scanned: Scanned) -> Iterator[str]:
    for sister in scanned.sisters:
        apart = _apart(words(place.text), words(sister))
        if len(apart) == 1 and _is_plural(*sorted(apart[0], key=len)):
            yield sister


def _is_plural(one: str, many: str) -> bool:
    return (
        (many == f"{one}s" and not one.endswith("s"))
        or many == f"{one}es"
        or (one.endswith("y") and many == f"{one[:-1]}ies")
    )


def looks_like_known(_: Scanned, found: Sequence[Place], __: bool) -> Iterator[Hit]:
    """The very name, also spelled in another case or with other joints, is nobody's disguise."""
    known = well_known()
    for place in found:
        own = _LETTERS.sub("", place.text).lower()
        for name in known["tools"] if place.where == Where.NAME else ():
            if own != name.replace("_", "") and skeleton(place.text) == skeleton(name):
                yield Hit(place=place, quote=place.text, says=f"It looks like {name}, a well-known tool.")
        for word in re.split(r"[\s_.-]+", place.text):
            for brand in known["brands"]:
                if word.lower() != brand and skeleton(word) == skeleton(brand):
                    yield Hit(place=place, quote=place.text, says=f"“{word}” looks like {brand}.")


def reads_like_known(_: Scanned, found: Sequence[Place], __: bool) -> Iterator[Hit]:
    known = well_known()
    brands = [brand for brand, told in known["brands"].items() if told["edits"]]
    for place in found:
        own = words(place.text)
        for name in known["tools"] if place.where == Where.NAME else ():
            if _one_slip(own, words(name)):
                yield Hit(place=place, quote=place.text, says=f"It is one slip of the finger from {name}.")
        for word in own:
            for brand in brands:
                if word not in known["brands"] and _is_slip(word, brand):
                    yield Hit(place=place, quote=place.text, says=f"“{word}” is one slip of the finger from {brand}.")


def other_title(scanned: Scanned, found: Sequence[Place], _: bool) -> Iterator[Hit]:
    """A title that says another kind of deed than the name: people see the one, models the other."""
    name = words(scanned.manifest["name"])
    for place in found:
        said = words(place.text)
        if not name or not said:
            continue
        if _deed(name[0]) == "writes" and _deed(said[0]) == "reads":
            yield Hit(place=place, quote=place.text, says=f"The name says “{name[0]}”, the title “{said[0]}”.")


def _deed(verb: str) -> str:
    if verb in DELETES or verb in WRITES - READS:
        return "writes"
    return "reads" if verb in READS - WRITES else ""


def _one_slip(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two names differ in one word only, and there by one slip; that one speaks of many counts for nothing."""
    apart = [pair for pair in _apart(one, other) if not _is_plural(*sorted(pair, key=len))]
    if len(apart) != 1 or not "".join(apart[0]).isalpha() or sorted(apart[0]) in _words_both():
        return False
    return _is_slip(*apart[0]) or _is_twist(*apart[0]) or (apart[0] == (one[0], other[0]) and _is_cut(*apart[0]))


def _apart(one: Sequence[str], other: Sequence[str]) -> list[tuple[str, str]]:
    """The words in which two names of equally many differ."""
    return [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]] if len(one) == len(other) else []


@cache
def _words_both() -> list[list[str]]:
    return [sorted(pair) for pair in well_known()["apart"]]


def _is_twist(one: str, other: str) -> bool:
    """Whether two letters are swapped, or one is doubled: nothing else does that to a word, however short."""
    if min(len(one), len(other)) < _SHORTEST_OF_ALL or one[0] != other[0] or {one, other} <= READS | WRITES:
        return False
    if len(one) == len(other):
        return _is_swapped(one, other) and (one[-1] == other[-1] or not {one, other}.isdisjoint(READS | WRITES))
    short, long = sorted((one, other), key=len)
    doubled = (at for at, (left, right) in enumerate(pairwise(long)) if left == right)
    return len(long) - len(short) == 1 and any(long[:at] + long[at + 1 :] == short for at in doubled)


def _is_swapped(one: str, other: str) -> bool:
    apart = [at for at in range(len(one)) if one[at] != other[at]]
    return len(apart) == 2 and apart[1] == apart[0] + 1 and sorted(one) == sorted(other)


def _is_cut(one: str, other: str) -> bool:
    """Whether a verb lost its last letter; other words are inflected that way."""
    short, long = sorted((one, other), key=len)
    return len(long) >= _SHORTEST and long in READS | WRITES and short == long[:-1]


def _is_slip(one: str, other: str) -> bool:
    """Whether one letter is left out, added or exchanged, or two are swapped: not the first letter, as that makes
    another word, nor the last, as that is how words are inflected."""
    if max(len(one), len(other)) < _SHORTEST or one == other or not (one + other).isalpha():
        return False
    if one[0] != other[0] or one[-1] != other[-1] or {one, other} <= READS | WRITES:
        return False
    if len(one) == len(other):
        return sum(left != right for left, right in zip(one, other, strict=True)) == 1 or _is_swapped(one, other)
    short, long = sorted((one, other), key=len)
    return len(long) - len(short) == 1 and any(long[:at] + long[at + 1 :] == short for at in range(len(long)))
