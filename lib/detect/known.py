"""Secrets that are known: found in clear, in capitals, escaped, in base64 at any offset, and with spaces or line breaks
within."""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from secrets import token_hex
from typing import Final
from urllib.parse import quote, quote_plus

from lib.detect.secrets import REMOVED
from lib.detect.sieve import Sieve

STAND_IN: Final = f"[redacted:{token_hex(8)}]"
"""Stands for a secret that was taken out before anybody counted. Who cleans the text finds it as one that is known, and
counts it. Each process makes its own, so that nobody outside can write it."""
LEAST = 8
"""Characters of a secret that is looked for; a shorter one would be found in everyday words."""
_GLUED = 12
"""A shorter one counts only as a word of its own, since it may be part of others, and not at all if it is a word."""
_SPACES = {ord(char): None for char in " \t\r\n\x0b\x0c"}
_GAP = r"(?:\s|\\[nrt])*"


class Known:
    """Finds known secrets, and those of another one beside it. They appear in no repr, and in no error."""

    __slots__ = ("_beside", "_forms", "_patterns", "_sieve")

    def __init__(self, secrets: Iterable[str] = (), *, beside: "Known | None" = None, exactly: Iterable[str] = ()):
        """exactly: what is found only as it is written, without spaces."""
        forms = {form for secret in set(secrets) if _tells(secret) for form in _forms(secret)} | set(exactly)
        self._beside = beside
        self._forms = sorted(forms, key=len, reverse=True)
        self._sieve = Sieve(map(_escaped, self._forms)) if forms else None
        self._patterns: dict[str, re.Pattern[str]] = {}

    def __repr__(self) -> str:
        return "Known(...)"

    def catches(self, text: str) -> bool:
        """Valid Unicode only."""
        return self._is_in(_squeezed(text))

    def _is_in(self, squeezed: str) -> bool:
        if self._sieve is not None and self._sieve.catches(squeezed):
            return True
        return self._beside is not None and self._beside._is_in(squeezed)

    def without(self, text: str) -> tuple[str, int]:
        """The text without them, and how many they were."""
        if not self.catches(text):
            return text, 0
        squeezed, count = _squeezed(text), 0
        for form in self._forms:
            if form in squeezed:
                text, found = self._pattern(form).subn(REMOVED, text)
                count += found
        if self._beside is not None:
            text, found = self._beside.without(text)
            count += found
        return text, count

    def _pattern(self, form: str) -> re.Pattern[str]:
        if form not in self._patterns:
            body = _GAP.join(map(re.escape, form))
            alone = len(form) < _GLUED
            self._patterns[form] = re.compile(rf"(?<![A-Za-z0-9]){body}(?![A-Za-z0-9])" if alone else body)
        return self._patterns[form]


def _tells(secret: str) -> bool:
    """Whether it cannot be taken for an everyday word, as a password of a database on one's own machine can."""
    return len(secret) >= _GLUED or (len(secret) >= LEAST and not (secret.isalpha() and secret.islower()))


def _squeezed(text: str) -> str:
    """Without spaces and line breaks, also those that JSON has escaped."""
    text = text.translate(_SPACES)
    return text.replace("\\n", "").replace("\\r", "").replace("\\t", "") if "\\" in text else text


def _escaped(form: str) -> str:
    """For a Sieve, whose syntax escapes less than Python's."""
    return "".join(char if char.isalnum() else rf"\x{{{ord(char):x}}}" for char in form)


def _forms(secret: str) -> Iterator[str]:
    data = secret.encode(errors="replace")
    spelled = {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        html.escape(secret),
        quote(secret, errors="replace"),
        quote(secret, safe="", errors="replace"),
        quote_plus(secret, errors="replace"),
        *_base64(data),
    }
    if len(data) >= _GLUED:
        spelled |= {data.hex(), data.hex().upper()}
        if any(map(str.isdigit, secret)):  # or it may be a word
            spelled |= {secret.upper(), secret.lower()}
    for form in spelled:
        squeezed = _squeezed(form)
        if len(squeezed) >= LEAST:
            yield squeezed


def _base64(data: bytes) -> Iterator[str]:
    """As it stands within anything that is base64, at each of the three offsets: without the characters at either end
    that depend on what is around it."""
    for offset in range(3):
        padded = b"\0" * offset + data
        whole = base64.b64encode(padded).decode()
        first = -(-offset * 8 // 6)
        inner = whole[first : len(padded) * 8 // 6]
        if len(inner) >= _GLUED:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")
