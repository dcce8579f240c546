"""What a description says that its tool does: whether it changes something, or only looks."""

import re
from collections.abc import Iterable
from functools import cache

from tools.scan.reading import sentence
from tools.scan.rules import well_known
from tools.vocabulary import DELETES, READS, WRITES

_HOW = r"(?:(?:then|also|permanently|irreversibly|immediately|silently|automatically|will)\s+){0,3}"
_ONE = (
    r"\s+(?:an?|the|all|any|every|each|one|its?|their|his|her|this|these|those|them|your)\b"
    r"(?!\s(?:\w+\s)?(?:second|minute|hour|day|night|week|month)s?\b)"
)
"""What follows a verb that might as well be a noun."""
_NO_THING = (
    r"(?!\s*(?:[^\w\s]|$)|\s+(?:and|or|of|by|for|from|in|on|since|per|with|to|at|as|that|which|whose|who|when|where|are"
    r"|were|is|was|have|has|had|made|between|after|before|until|about|near|around)\b)"
)
"""What does not follow one that is a verb: “updates of a parcel”."""
_OBJECT = re.compile(rf"\s+(?:it|them)\b|{_ONE}", re.IGNORECASE)
_NOT_THE_VIEW = r"(?!(?:\s+\w+)?\s+(?:page|limit|sort|cursor|default|number of)\b)"
_NOT_THE_ANSWER = r"(?!.{0,60}?\bfrom (?:the|its) (?:results?|output|answer|text)\b)"
"""What is set or left out for the sake of looking."""
_SENTENCES = re.compile(r"(?<=[.!?;\u3002])\s+|\n+")
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n[ \n]*")
_ASKED = re.compile(r"\b(?:how|who|whom|whose|when|whether|what|why|where|which)\b", re.IGNORECASE)
_ASKING = re.compile(
    r"\b(?:how|when|whether|what|why|where|which|if|that|before|after|once|until|as)\s+$", re.IGNORECASE
)
_MAY = re.compile(r"\b(?:to|can|may|could|must|should|would|that|you|if)\b", re.IGNORECASE)
_OPENS = r"(?:^\W*|\b(?:it|this tool|the tool|this)\s+)"
_ORDERS = ("delete", "overwrite", "purge", "revoke", "erase", "wipe", "destroy")
"""They are orders also where nothing is named after them."""
_NOT = re.compile(r"\b(?:not|never|nothing|nobody|no|without|neither|nor|cannot|won't|doesn't)\b", re.IGNORECASE)
_DENIED = re.compile(
    r"(?:\s+\w+)?\s+(?:nothing|no|nobody|none|neither|never|not)\b"
    r"|.{0,160}?\b(?:but|and|while|though|or)\b.{0,60}?\b(?:nothing|no|none|neither|never|not|doesn't|nor)\b"
    r"|.{0,160}?\bwithout\s+(?:chang|modif|sav|send|stor|writ|delet|any|apply)",
    re.IGNORECASE,
)
"""What stands behind a deed that is none. “Removes users that are not active” denies nothing."""
_READS_ONLY = re.compile(
    r"\b(?:chang(?:es?|ing)|modif(?:y|ies|ying)|alter(?:s|ing)?|updat(?:es?|ing)|writes?|deletes?|touches)\s+nothing\b"
    r"|\b(?:nothing|no data|no records?)\s+(?:(?:is|are|gets?|will be|is ever|is being)\s+)?"
    r"(?:changed|modified|altered|written|updated|deleted|overwritten|touched)\b(?!\s+(?:in|at|on|of|for|to)\b)"
    r"|\b(?:is|strictly|purely|completely|fully|entirely)\s+(?:a\s+)?read[- ]only\b"
    r"|(?:^|[.!;:(\n]\s*)read[- ]only(?=\s*(?:[.!;)\n]|$|(?:tool|access|operation|call|query|view|lookup)s?\b))"
    r"|\bonly\s+reads?\b|\breads?\s+only(?=\s*[.!;)]|$)"
    r"|\b(?:makes?|does|performs?|has|with)\s+no\s+(?:changes?|modifications?|writes|side[- ]effects?)\b"
    r"|\bno\s+side[- ]effects?\b"
    r"|\b(?:does not|doesn't|never|cannot|can't|will not|won't)\s+(?:change|modify|alter|write|update|delete)s?\s+"
    r"(?:anything|any|data)\b"
    r"|\bwithout\s+(?:changing|modifying|altering)\s+(?:anything|it|them)\b",
    re.IGNORECASE,
)
_ONLY_THEN = re.compile(
    r"\b(?:else|until|unless|while|if|when|once|before|as long as|dry[-_ ]?runs?)\b|\bbut\b", re.IGNORECASE
)
_LEAD = re.compile(r"^\W*(?:(?:it|this tool|the tool|this|only|just|simply)\s+)*([a-z]+)\b(?!\s+rid\b)", re.IGNORECASE)
_NEXT = re.compile(r"(?:\b(?:and|or|then|to|also)|[,;.])\s+(?:(?:then|also|it)\s+)*([a-z]+)", re.IGNORECASE)


def harm(text: str) -> str | None:
    """The first sentence that opens with a deed that is no looking, and does not deny it."""
    return next((one for one in _sentences(text) if _starts(_opening(), one)), None)


def change(text: str) -> str | None:
    """The first that opens with a deed that may be harmless, or tells of one later on."""
    for number, one in enumerate(_sentences(text)):
        if _starts(_opening_mildly(), one) or _goes_on(one) or (number == 0 and _orders_more(one)):
            return one
    return None


def says_only_reads(text: str) -> bool:
    """Whether it says so in so many words, and on no condition."""
    text = _flat(text)
    return any(not _ONLY_THEN.search(sentence(text, *found.span())) for found in _READS_ONLY.finditer(text))


def opens_with_looking(text: str) -> str:
    """The verb that it opens with, where that only looks and no later one may do more; "" otherwise."""
    lead = _LEAD.match(text)
    if lead is None or not _bases(lead[1]) & _verbs("looks"):
        return ""
    more = (WRITES - READS) | DELETES | _verbs("harms") | _verbs("changes")
    others = any(_bases(found[1]) & more for found in _NEXT.finditer(_flat(text)))
    return "" if others or harm(text) or change(text) else lead[1].lower()


def _sentences(text: str) -> list[str]:
    return _SENTENCES.split(_flat(text))


def _flat(text: str) -> str:
    """With one space or newline where there are many: no pattern here is to run along them again and again."""
    return _LINES.sub("\n", _SPACES.sub(" ", text))


def _starts(opening: re.Pattern[str], one: str) -> bool:
    """Whether a sentence opens so, or a part of it that is no question (“when it changes”)."""
    found = (each for each in opening.finditer(one) if not _ASKING.search(_before(one, each, 20)))
    return any(not _is_denied(one, each) for each in found)


def _goes_on(one: str) -> bool:
    """Whether a sentence tells of a deed later on that is the tool's, and not what somebody is told about."""
    for found in _within().finditer(one):
        anew = found[0].startswith(",") and (_OBJECT.search(found[0]) or _OBJECT.match(one, found.end()))
        told = not anew and not found["them"] and _ASKED.search(_before(one, found))
        if not told and not _is_denied(one, found):
            return True
    return False


def _orders_more(one: str) -> bool:
    """The same of a sentence such as “Read a ticket and close it”."""
    lead = _LEAD.match(one)
    if lead is None or lead[1].lower() not in _verbs("looks") or (found := _imperative().search(one)) is None:
        return False
    before = one[: found.start()]
    return not _MAY.search(before) and not _ASKED.search(before) and not _is_denied(one, found)


def _is_denied(one: str, deed: re.Match[str]) -> bool:
    return bool(_NOT.search(_before(one, deed)) or _NOT.search(deed[0]) or _DENIED.match(one, deed.end()))


def _before(one: str, found: re.Match[str], most: int = 200) -> str:
    return one[max(0, found.start() - most) : found.start()]


@cache
def _opening() -> re.Pattern[str]:
    harms, things = _verbs("harms"), _verbs("things")
    plain, ambiguous = _either(map(_third, harms - things)), _either(map(_third, harms & things))
    deeds = rf"(?:{plain}|{_either(_ORDERS)})\b|(?:{ambiguous})\b{_NO_THING}|(?:{_either(harms)}){_ONE}"
    return _compiled(rf"{_OPENS}{_HOW}(?:{deeds}){_NOT_THE_ANSWER}")


@cache
def _opening_mildly() -> re.Pattern[str]:
    changes, things = _verbs("changes"), _verbs("things")
    plain, ambiguous = _either(map(_third, changes - things)), _either(map(_third, changes & things))
    marked = r"marks\b(?=.{1,60}\bas\b)|writes\b(?=.{1,60}\b(?:back|into)\b)"
    deeds = rf"(?:{plain})\b|(?:{ambiguous})\b{_NO_THING}|{marked}"
    return _compiled(rf"{_OPENS}{_HOW}(?:{deeds}){_NOT_THE_VIEW}")


@cache
def _within() -> re.Pattern[str]:
    """them: the deed is done to what was told of before."""
    harms, every = _verbs("harms"), _verbs("harms") | _verbs("changes")
    plain = _either(map(_third, harms - _verbs("things")))
    deeds = rf"(?:{plain})\b(?P<them>\s+(?:it|them)\b)?|(?:{_either(map(_third, every))})(?:\s+(?:it|them)\b|{_ONE})"
    joined = r"(?:,\s)?\b(?:and|then|also|but)\s+"
    some = rf"(?:{_either(map(_third, every))}){_ONE}"
    surely = _either(map(_doing, [*_ORDERS, "update", "cancel"]))
    doing = rf"(?:{_either(map(_doing, every))})\s+(?:it|them)\b|(?:{surely}){_ONE}"
    return _compiled(rf"(?:{joined}{_HOW}(?:{deeds})|,\s+{_HOW}{some}){_NOT_THE_VIEW}{_NOT_THE_ANSWER}|,\s+(?:{doing})")


@cache
def _imperative() -> re.Pattern[str]:
    every = _either(_verbs("harms") | _verbs("changes"))
    return _compiled(rf"\b(?:and|then)\s+{_HOW}(?:{every}){_ONE}{_NOT_THE_VIEW}")


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _either(words: Iterable[str]) -> str:
    return "|".join(sorted(words))


@cache
def _verbs(name: str) -> frozenset[str]:
    return frozenset(well_known()["verbs"][name])


def _third(verb: str) -> str:
    """“updates”, of “update”."""
    if verb.endswith(("s", "x", "z", "ch", "sh")):
        return f"{verb}es"
    return f"{verb[:-1]}ies" if verb.endswith("y") and verb[-2] not in "aeiou" else f"{verb}s"


def _doing(verb: str) -> str:
    """“updating”, of “update”."""
    if re.search(r"^[^aeiou]+[aeiou][bdgmnpt]$", verb):
        return f"{verb}{verb[-1]}ing"
    return f"{verb.removesuffix('e')}ing"


def _bases(word: str) -> set[str]:
    """What “updates” may be made of."""
    word = word.lower()
    return {word, word.removesuffix("s"), word.removesuffix("es"), re.sub(r"ies$", "y", word)}
