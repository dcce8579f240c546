"""The cases as they are written: one file of YAML for each class, with attacks and harmless near misses.

`<<b64:text>>` stands for the text in base64, and so on (`DISGUISES`); so the files stay readable, and what hides in
them is plain to see.
"""

import base64
import codecs
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

CASES: Final = Path(__file__).parent / "cases"
FIGURES: Final = Path(__file__).parent / "figures.yaml"
_DISGUISED = re.compile(r"<<([a-z0-9]+):((?:(?!>>).)*)>>", re.DOTALL)
_FILLER = "The parcel left the depot this morning and arrives on the day after tomorrow, says the carrier. "
_CYRILLIC = str.maketrans("aceopxyiABCEHKMOPTX", "асеорхуіАВСЕНКМОРТХ")  # noqa: RUF001 - looking alike is the point
_GREEK = str.maketrans("aiopvnABEHIKMNOPTXYZ", "αιορνηΑΒΕΗΙΚΜΝΟΡΤΧΥΖ")
_UPSIDE_DOWN = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ɐqɔpǝɟƃɥıɾʞlɯuodbɹsʇnʌʍxʎz")  # noqa: RUF001


def _moved(capital: int, small: int) -> Callable[[str], str]:
    """Every ASCII letter, as the letter of a block that has them in the same order."""

    def moved(text: str) -> str:
        return "".join(
            chr(ord(one) - 65 + capital)
            if "A" <= one <= "Z"
            else chr(ord(one) - 97 + small)
            if "a" <= one <= "z"
            else one
            for one in text
        )

    return moved


DISGUISES: Final[Mapping[str, Callable[[str], str]]] = {
    "b64": lambda text: base64.b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "url": lambda text: "".join(f"%{one:02X}" for one in text.encode()),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "html": lambda text: "".join(f"&#{ord(one)};" for one in text),
    "u": lambda text: "".join(f"\\u{ord(one):04x}" for one in text),
    "reverse": lambda text: text[::-1],
    "zws": "\u200b".join,
    "zw": lambda text: "".join("\u200b\u200c"[bit == "1"] for one in text.encode() for bit in f"{one:08b}"),
    "tags": lambda text: "".join(chr(0xE0000 + ord(one)) for one in text),
    "vs": lambda text: "".join(chr(0xE0100 + one - 16) if one >= 16 else chr(0xFE00 + one) for one in text.encode()),
    "cyr": lambda text: text.translate(_CYRILLIC),
    "greek": lambda text: text.translate(_GREEK),
    "wide": lambda text: "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in text),
    "bold": _moved(0x1D400, 0x1D41A),
    "circled": _moved(0x24B6, 0x24D0),
    "strike": lambda text: "".join(f"{one}\u0336" for one in text),
    "upside": lambda text: text.translate(_UPSIDE_DOWN)[::-1],
    "spaced": " ".join,
    "nl": lambda number: "\n" * int(number),
    "pad": lambda number: (_FILLER * (int(number) // len(_FILLER) + 1))[: int(number)],
    "join": lambda text: text,
}
"""What stands for a text. `join` is the text itself: it keeps apart what would look like a real key."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One class of cases. around: what else its file says, for all of them."""

    name: str
    attacks: tuple[Any, ...]
    harmless: tuple[Any, ...]
    around: Mapping[str, Any]


@cache
def kinds() -> Mapping[str, Kind]:
    return {path.stem: _kind(path) for path in sorted(CASES.glob("*.yaml"))}


def figures() -> Mapping[str, Mapping[str, int]]:
    """What every class came to when its figures were last written down."""
    found: Mapping[str, Mapping[str, int]] = yaml.safe_load(FIGURES.read_text(encoding="utf-8"))
    return found


def _kind(path: Path) -> Kind:
    written = _disguised(yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader))
    attacks, harmless = written.pop("attacks"), written.pop("harmless")
    return Kind(name=path.stem, attacks=tuple(attacks), harmless=tuple(harmless), around=written)


def _disguised(value: Any) -> Any:
    if isinstance(value, str):
        return _DISGUISED.sub(lambda found: DISGUISES[found[1]](found[2]), value)
    if isinstance(value, list):
        return [_disguised(one) for one in value]
    if isinstance(value, dict):
        return {_disguised(name): _disguised(one) for name, one in value.items()}
    return value


def shown(case: Any) -> str:
    """A case in a line of a report, with nothing hidden in it."""
    text = case if isinstance(case, str) else str(case)
    seen = "".join(one if one.isprintable() and not unicodedata.combining(one) else f"[{ord(one):X}]" for one in text)
    return seen if len(seen) <= 160 else f"{seen[:110]} … {seen[-45:]}"
