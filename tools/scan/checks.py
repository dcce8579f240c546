"""The checks that no pattern can do, by the name that rules know them by."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from lib.detect import attacks, decode
from lib.detect.disguise import What, invisible, mixed_scripts
from tools.catalog import secret_names
from tools.scan import effects, links, names
from tools.scan.places import MOST_CHARACTERS
from tools.scan.reading import readings
from tools.scan.values import Hit, Place, Scanned, Where

Check = Callable[[Scanned, Sequence[Place], bool], Iterable[Hit]]

_HARMLESS = frozenset({What.SOFT_HYPHEN, What.PRIVATE, What.UNASSIGNED})
_GAP = re.compile(r"\s{60}|(?:\n[ \t]*){12}")
_WORD = re.compile(r"\S+")
_WORDS = re.compile(r"[^\W\d_]{2,}")
_SECRET = re.compile(
    r"^(?:\w+_)?(?:api_?key|access_?key|secret_?key|secret|client_secret|access_?token|auth_?token|bearer_?token"
    r"|refresh_?token|session_?(?:token|cookie)|private_?key|ssh_?key|password|passwd|passphrase|credentials?"
    r"|seed_?phrase|mnemonic|otp|cvv|cvc)$"
)
LONG_DESCRIPTION, LONG_TEXT, LONG_TITLE, LONG_VALUE, LONG_NAME = 4000, 1500, 80, 240, 64
_MOST_WORDS_OF_VALUE = 40


def _hidden(_: Scanned, found: Sequence[Place], __: bool) -> Iterator[Hit]:
    yield from _invisible(found, lambda what: what not in _HARMLESS)


def _odd(_: Scanned, found: Sequence[Place], __: bool) -> Iterator[Hit]:
    yield from _invisible(found, lambda what: what in _HARMLESS)


def _invisible(found: Sequence[Place], counts: Callable[[What], bool]) -> Iterator[Hit]:
    for place in found:
        if ones := [one for one in invisible(place.text) if counts(one.what)]:
            kinds = ", ".join(sorted({one.what.value for one in ones}))
            start = max(0, ones[0].position - 30)
            said = f"There are {len(ones)} of them: {kinds}."
            yield Hit(place=place, quote=place.text[start : start + 160], says=said)


def _mixed(_: Scanned, found: Sequence[Place], __: bool) -> Iterator[Hit]:
    for place in found:
        if place.text.isascii():
            continue
        for word in _WORD.findall(place.text):
            if mixed_scripts(word):
                codes = " ".join(f"U+{ord(char):04X}" for char in word[:40] if not char.isascii())
                yield Hit(place=place, quote=word, says=f"In “{word[:40]}” these are not what they seem: {codes}.")
                break


def _injection(_: Scanned, found: Sequence[Place], __: bool) -> Iterator[Hit]:
    """What arguments are searched for has no place in a manifest either."""
    for place in found:
        for text in (*(level.lower() for level in decode.levels(place.text)[0]), *readings(place)):
            if (rule := attacks.matching("prompt_injection", text)) is not None:
                yield Hit(place=place, quote=place.text, says=rule.why)
                break


def _encoded(_: Scanned, found: Sequence[Place], __: bool) -> Iterator[Hit]:
    """Encoded text of several words; what it says is searched by the other rules besides."""
    for place in found:
        for said in decode.tokens(place.text):
            if len(_WORDS.findall(said)) >= 3 and not said.lstrip().startswith(("{", "[")):
                yield Hit(place=place, quote=said, says="Decoded, it says what is shown here.")
                break


def _secret_parameter(scanned: Scanned, found: Sequence[Place], _: bool) -> Iterator[Hit]:
    sealed = secret_names(scanned.manifest.get("inputSchema"))
    for place in found:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])|-", "_", place.text).lower()
        if place.path.startswith("inputSchema") and _SECRET.match(name) and place.text not in sealed:
            yield Hit(place=place, quote=place.text)


def _long(_: Scanned, found: Sequence[Place], __: bool) -> Iterator[Hit]:
    bounds = {Where.DESCRIPTION: LONG_DESCRIPTION, Where.TITLE: LONG_TITLE, Where.SCHEMA_NAME: LONG_NAME}
    for place in found:
        bound = LONG_TITLE if place.path.endswith(".title") else bounds.get(place.where, LONG_TEXT)
        if len(place.text) > bound:
            said = f"It has {len(place.text):,} characters; {bound:,} are plenty here."
            yield Hit(place=place, quote=place.text, says=said)


def _too_much(_: Scanned, found: Sequence[Place], whole: bool) -> Iterator[Hit]:
    if not whole and found:
        said = f"Only the first {MOST_CHARACTERS:,} characters were searched."
        yield Hit(place=found[-1], quote=found[-1].text[-80:], says=said)


def _prose(_: Scanned, found: Sequence[Place], __: bool) -> Iterator[Hit]:
    for place in found:
        words = len(_WORDS.findall(place.text))
        if len(place.text) > LONG_VALUE and words > _MOST_WORDS_OF_VALUE:
            yield Hit(place=place, quote=place.text, says=f"This one has {words} words.")


def _padding(_: Scanned, found: Sequence[Place], __: bool) -> Iterator[Hit]:
    for place in found:
        if (gap := _GAP.search(place.text)) and (behind := place.text[gap.end() :].strip()):
            yield Hit(place=place, quote=behind, says="This stands behind it.")


CHECKS: Mapping[str, Check] = {
    "hidden": _hidden,
    "odd": _odd,
    "mixed": _mixed,
    "injection": _injection,
    "encoded": _encoded,
    "secret_parameter": _secret_parameter,
    "long": _long,
    "too_much": _too_much,
    "prose": _prose,
    "padding": _padding,
    "looks_like_sister": names.looks_like_sister,
    "reads_like_sister": names.reads_like_sister,
    "one_or_many_elsewhere": names.one_or_many_elsewhere,
    "one_or_many": names.one_or_many,
    "looks_like_known": names.looks_like_known,
    "reads_like_known": names.reads_like_known,
    "other_title": names.other_title,
    "strange_host": links.strange,
    "deceptive_link": links.deceptive,
    "ordered_to_address": links.ordered_to_address,
    "strange_address": links.strange_address,
    "writes_though_read_only": effects.writes_though_read_only,
    "may_write_though_read_only": effects.may_write_though_read_only,
    "reads_but_deletes": effects.reads_but_deletes,
    "reads_but_destructive": effects.reads_but_destructive,
}
