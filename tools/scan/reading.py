"""How a text is read: decoded, in lower case, without ornament; and the part of it that is quoted to people."""

import re
from functools import lru_cache

from lib.detect import decode
from lib.detect.disguise import marked
from tools.scan.values import Place, Where

_ORNAMENT = re.compile(r"[*~`\"|]+|(?<![\w.])_+|_+(?!\w)")
_SPACE = re.compile(r"\s+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_JOINTS = re.compile(r"[_.-]+")
_END = re.compile(r"[.!?;\u3002\uff01\uff1f\uff1b](?:\s|$)|[\u3002\uff01\uff1f\uff1b\x00]")
_NAMES = frozenset({Where.NAME, Where.SCHEMA_NAME})
MOST_QUOTED = 160


def readings(place: Place) -> tuple[str, ...]:
    """The text as patterns see it: each level of what it holds encoded, and names as words."""
    return _readings(place.text, place.where in _NAMES)


@lru_cache(maxsize=512)
def _readings(text: str, is_name: bool) -> tuple[str, ...]:
    if is_name:
        text = _JOINTS.sub(" ", _CAMEL.sub(" ", text))
    found: dict[str, None] = {}
    for level in decode.levels(text)[0]:
        read = _SPACE.sub(" ", _ORNAMENT.sub("", level.lower()))
        found[read] = None
        found[decode.without_leet(read)] = None
    return tuple(found)


def sentence(text: str, start: int, end: int) -> str:
    """The sentence around a part of a text, 300 characters either side at the most."""
    first, last = max(0, start - 300), end + 300
    opens = max((found.end() for found in _END.finditer(text, first, start)), default=first)
    closes = _END.search(text, end, last)
    return text[opens : closes.start() if closes else last]


def quoted(text: str) -> str:
    """Text in which nothing hides: hidden characters are spelled out, and long text is cut."""
    cut = text[: MOST_QUOTED * 2]
    whole = _SPACE.sub(" ", marked(cut)).strip()
    return f"{whole[:MOST_QUOTED]}…" if len(whole) > MOST_QUOTED or len(text) > len(cut) else whole
