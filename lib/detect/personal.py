"""Personal data in a text, by detectors that each know one sort and check what can be checked."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from typing import Final

from lib.detect.sieve import Sieve

_Check = Callable[[str], int]
"""How many characters of what was found are one; 0 for none."""


@dataclass(frozen=True)
class Detector:
    """label: for people. sieve: for a Sieve. pattern, check: what is one."""

    label: str
    removed: str
    sieve: str
    pattern: re.Pattern[str]
    check: _Check

    @cached_property
    def _sieve(self) -> Sieve:
        return Sieve([self.sieve])

    def is_suspect(self, text: str) -> bool:
        """Whether a closer look is worth it. Valid Unicode only."""
        return self._sieve.catches(text)

    def without(self, text: str) -> tuple[str, int]:
        """The text without what it finds, and how much that was."""
        return self._sieve.clean(text, self._clean)

    def _clean(self, text: str) -> tuple[str, int]:
        count = 0

        def judged(found: re.Match[str]) -> str:
            nonlocal count
            length = self.check(found[0])
            count += length > 0
            return f"{self.removed}{found[0][length:]}" if length else found[0]

        return self.pattern.sub(judged, text), count


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _luhn(digits: str) -> bool:
    doubled = [sum(divmod(int(digit) * 2, 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def _email(text: str) -> int:
    local, _, host = text.rpartition("@")
    return len(text) if ".." not in text and not local.startswith(".") and "." in host else 0


_DATE = re.compile(r"\d{4}[-/. ]\d{1,2}[-/. ]\d{1,2}|\d{1,2}[-/. ]\d{1,2}[-/. ](?:\d{4}|\d{2})")


def _phone(text: str) -> int:
    digits = _digits(text)
    if not 7 <= len(digits) <= 15 or _DATE.match(text) or len(set(digits)) < 3 or text.count(".") in (1, 3):
        return 0
    separators = len(text) - len(digits)
    if text[0] == "+" or text.startswith("00"):
        return len(text) if len(digits) >= 8 else 0
    if text[0] == "(":
        return len(text) if ")" in text and len(digits) >= 9 else 0
    national = text[0] == "0" and separators >= 1 and len(digits) >= 9
    grouped = re.fullmatch(r"(?:1[-. ])?\d{3}[-. ]\d{3}[-. ]\d{4}", text) is not None
    return len(text) if national or grouped else 0


_IBAN_LENGTHS: Final[Mapping[int, str]] = {
    15: "NO",
    16: "BE",
    18: "DK FI FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
"""By ISO 13616's registry."""
_IBAN_LENGTH = {country: length for length, named in _IBAN_LENGTHS.items() for country in named.split()}


def _iban(text: str) -> int:
    """What follows in capitals may be taken for more of it, so the country says how long it is."""
    length = _IBAN_LENGTH.get(text[:2], 0)
    seen = 0
    for at, char in enumerate(text):
        seen += char != " "
        if seen == length:
            number = text[: at + 1].replace(" ", "")
            following = text[at + 1 : at + 2]
            valid = int("".join(str(int(one, 36)) for one in number[4:] + number[:4])) % 97 == 1
            return at + 1 if valid and following in ("", " ") else 0
    return 0


def _card(text: str) -> int:
    digits = _digits(text)
    if not 13 <= len(digits) <= 19 or digits[0] not in "23456" or len(set(digits)) < 2:
        return 0
    if digits[0] == "2" and not 2221 <= int(digits[:4]) <= 2720:
        return 0
    return len(text) if _luhn(digits) else 0


_SPANISH, _ITALIAN_ODD = (
    "TRWAGMYFPDXBNJZSQVHLCKE",
    (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14),
)
_ITALIAN_MORE = (16, 10, 22, 25, 24, 23)


def _national(text: str) -> int:
    """By shape, and by check digit where there is one: US, UK, Spain, Italy, France, Sweden."""
    bare = text.replace(" ", "")
    if re.fullmatch(r"\d{3}-\d{2}-\d{4}", text):
        area, group, serial = text.split("-")
        valid = area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"
    elif re.fullmatch(r"\d{6}[-+]\d{4}", text):
        valid = 1 <= int(text[2:4]) <= 12 and 1 <= int(text[4:6]) % 60 <= 31 and _luhn(_digits(text))
    elif re.fullmatch(r"[XYZ]?\d{7,8}[A-Z]", bare):
        number = "XYZ".find(bare[0])
        valid = _SPANISH[int(f"{max(number, 0)}{bare[1:-1]}" if number >= 0 else bare[:-1]) % 23] == bare[-1]
    elif re.fullmatch(r"[A-Z]{2}\d{6}[A-D]", bare):
        valid = bare[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ") and not set(bare[:2]) & set("DFIQUV")
    elif len(bare) == 16:
        valid = _italian(bare)
    else:
        valid = bare.isdigit() and len(bare) == 15 and 97 - int(bare[:13]) % 97 == int(bare[13:])
    return len(text) if valid else 0


def _italian(code: str) -> bool:
    places = [int(char) if char.isdigit() else ord(char) - 65 for char in code[:15]]
    odd = (*_ITALIAN_ODD, *_ITALIAN_MORE)
    return chr(65 + sum(odd[n] if at % 2 == 0 else n for at, n in enumerate(places)) % 26) == code[15]


def _address(text: str) -> int:
    """Only public ones: a private one names a machine, and nobody."""
    try:
        return len(text) if ip_address(text).is_global else 0
    except ValueError:
        return 0


DETECTORS: Final[Mapping[str, Detector]] = {
    "email": Detector(
        "Mail addresses",
        "[email removed]",
        r"[^\s@]@[^\s@]+\.",
        re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}+@(?:[\w-]{1,63}\.){1,5}[^\W\d_]{2,24}(?![\w-])"),
        _email,
    ),
    "phone": Detector(
        "Telephone numbers",
        "[phone removed]",
        r"[0-9](?:[ ()./-]{0,3}[0-9]){6}",
        re.compile(r"(?<![\w.,/:#+-])(?:\+|\()?[0-9](?:[ ()./-]{0,3}[0-9]){6,14}(?![\w-]|[.,:/][0-9])"),
        _phone,
    ),
    "iban": Detector(
        "Bank accounts (IBAN)",
        "[IBAN removed]",
        r"[A-Z]{2}[0-9]{2} ?[A-Z0-9]{3}",
        re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,40}"),
        _iban,
    ),
    "card": Detector(
        "Payment cards",
        "[card removed]",
        r"[0-9](?:[ -]?[0-9]){12}",
        re.compile(r"(?<![\w.-])[0-9](?:[ -]?[0-9]){12,18}(?![\w-]|\.[0-9])"),
        _card,
    ),
    "national_id": Detector(
        "National identity and social security numbers",
        "[ID number removed]",
        r"[0-9]{3}-[0-9]{2}-[0-9]{4}|[0-9]{6}[-+][0-9]{4}|[0-9]{7}[A-Z]|[A-Z]{2} ?[0-9]{2} ?[0-9]{2}"
        r"|[A-Z]{6}[0-9]{2}|[12] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2}",
        re.compile(
            r"(?<![\w-])(?:\d{3}-\d{2}-\d{4}|\d{6}[-+]\d{4}|[XYZ]\d{7}[A-Z]|\d{8}[A-Z]"
            r"|[A-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]|[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]"
            r"|[12] ?\d{2} ?\d{2} ?\d{2} ?\d{3} ?\d{3} ?\d{2})(?![\w-])"
        ),
        _national,
    ),
    "ip": Detector(
        "Public IP addresses",
        "[IP address removed]",
        r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]{3}",
        re.compile(
            r"(?<![\w.:-])(?<!version )(?<!v)(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}|(?=[0-9A-Fa-f]{1,4}:)[0-9A-Fa-f:]{6,39})"
            r"(?![\w:-]|\.[0-9])"
        ),
        _address,
    ),
}
"""By the name that a tool's `clean` knows them by."""
