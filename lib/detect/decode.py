"""What text says once it is decoded: hidden encodings are undone, level by level, within bounds.

Every step is linear in the text and makes no more of it than `MOST_DECODED` characters, whatever comes in.
"""

import base64
import binascii
import html
import re
from urllib.parse import unquote

from lib.detect import disguise

SEPARATOR = "\n\x00\n"
"""Between texts that are looked at together. No pattern crosses it: `.` ends at a newline, and NUL is no space."""
MOST_DEPTH = 3
MOST_DECODED = 65536
_MOST_TOKENS = 2000

_ODD = re.compile(r"[^\x00\t\n\r -~]")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_PERCENT_U = re.compile(r"%u([0-9A-Fa-f]{4})")
_HTML = re.compile(r"&(?:#[0-9]{1,8}|#[xX][0-9A-Fa-f]{1,8}|[A-Za-z]{2,8});?")
_BACKSLASH = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}|([0-3][0-7]{2}))")
_FOLDED_LINE = re.compile(r"(?<=[A-Za-z0-9+/]{40})\r?\n(?=[A-Za-z0-9+/=])")
_TOKEN = re.compile(r"[A-Za-z0-9+/_-]{12,}={0,6}")
_PIECE = re.compile(r"[^/_-]{12,}")
_HEX = re.compile(r"[0-9A-Fa-f]+")
_BASE32 = re.compile(r"[A-Z2-7]+=*")
_ROW = re.compile(r"\b[0-9A-Fa-f]{2,3}(?:(?:, |[ ,:])[0-9A-Fa-f]{2,3}){7,}\b")
_TAGS = re.compile("[\U000e0020-\U000e007e]{4,}")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{8,}")


def levels(text: str) -> tuple[list[str], bool]:
    """The text, then what is encoded in it, then what is encoded in that; and whether that is all there is.

    Text in Unicode disguise is followed by what it looks like. Not all: what was decoded is too long, or still holds
    something encoded at the last level.
    """
    found, level, whole = [seen(text)], text, True
    for _ in range(MOST_DEPTH):
        level, fits = _decoded(level)
        if not level:
            return found, whole
        found.append(seen(level))
        whole = whole and fits
    return found, whole and not _decoded(level)[0]


def seen(text: str) -> str:
    """The text, with what it looks like after it where it has characters that can deceive."""
    if not _ODD.search(text) and text.count("\x00") == text.count(SEPARATOR):
        return text
    parts = [disguise.plain(part) for part in text.split(SEPARATOR) if _ODD.search(part) or "\x00" in part]
    return SEPARATOR.join([text, *parts])


def _decoded(text: str) -> tuple[str, bool]:
    """All that is encoded in the text, decoded by one step and joined; empty where nothing is. And whether it fits."""
    parts: list[str] = []
    escaped = unescaped(text)
    if escaped != text:
        parts.append(escaped)
    if not text.isascii():
        parts += _smuggled(text)
    parts += _numbers(text)
    parts += tokens(text)
    joined = SEPARATOR.join(parts)
    return joined[:MOST_DECODED], len(joined) <= MOST_DECODED


def unescaped(text: str) -> str:
    """Without percent-encoding, HTML entities and the backslash escapes of JavaScript, JSON, C and Python."""
    if "%" in text:
        text = _PERCENT_U.sub(lambda found: chr(int(found[1], 16)), text)
        text = unquote(text) if _PERCENT.search(text) else text
    if "&" in text:
        text = _HTML.sub(lambda found: html.unescape(found[0]), text)
    return _BACKSLASH.sub(_unescape, text) if "\\" in text else text


def _unescape(found: re.Match[str]) -> str:
    octal = found[4]
    code = int(octal, 8) if octal else int(found[1] or found[2] or found[3], 16)
    return chr(code) if code < 0x110000 else found[0]


def tokens(text: str) -> list[str]:
    """What runs of base64, base32 and hex say, where that is text."""
    if "\n" in text:
        text = _FOLDED_LINE.sub("", text)
    said: list[str] = []
    for count, found in enumerate(_TOKEN.finditer(text)):
        if count == _MOST_TOKENS:
            break
        said += _of_token(found[0])
    return said


def _of_token(token: str) -> list[str]:
    """A path or a name may stand before it: then its pieces are tried, too."""
    said = _text_of(token)
    if said or len(token) > 4096:
        return said
    return [text for piece in _PIECE.findall(token) if piece != token for text in _text_of(piece)]


def _text_of(token: str) -> list[str]:
    if token.isalpha() and (token.islower() or token[1:].islower()):
        return []  # a word
    bare = token.rstrip("=")
    hexed = bare[2:] if bare[:2] in {"0x", "0X"} else bare
    if len(hexed) % 2 == 0 and _HEX.fullmatch(hexed):
        text = _readable(bytes.fromhex(hexed))
        if text:
            return [text]
    candidates = [_base64(bare)]
    if _BASE32.fullmatch(bare):
        candidates.append(_base32(bare))
    return [text for text in map(_readable, candidates) if text]


def _base64(bare: str) -> bytes:
    if len(bare) % 4 == 1:
        bare = bare[:-1]
    try:
        return base64.b64decode(bare.replace("-", "+").replace("_", "/") + "=" * (-len(bare) % 4))
    except binascii.Error:
        return b""


def _base32(bare: str) -> bytes:
    try:
        return base64.b32decode(bare + "=" * (-len(bare) % 8))
    except binascii.Error:
        return b""


def _readable(data: bytes) -> str:
    """The bytes as text, in UTF-8 or in UTF-16 as PowerShell has it; empty where they are none."""
    if len(data) < 6:
        return ""
    try:
        text = data.decode("utf-16-le" if not any(data[1::2]) else "utf-8")
    except UnicodeDecodeError:
        return ""
    shown = sum(map(str.isprintable, text[:400])) + sum(map(str.isspace, text[:400]))
    return text if shown >= 0.9 * min(len(text), 400) else ""


def _numbers(text: str) -> list[str]:
    """What rows of numbers say as character codes: `69 67 6e`, `105, 103, 110`."""
    rows = [found[0].replace(",", " ").replace(":", " ") for found in _ROW.finditer(text)]
    codes = [code for row in rows for base in (10, 16) if (code := _codes(row.split(), base))]
    return [said for said in map(_readable, codes) if said]


def _codes(numbers: list[str], base: int) -> bytes:
    try:
        return bytes(int(number, base) for number in numbers)
    except ValueError:
        return b""


def _smuggled(text: str) -> list[str]:
    """What is written in invisible characters: Unicode tags, and variation selectors as bytes."""
    said = ["".join(chr(ord(one) - 0xE0000) for one in found[0]) for found in _TAGS.finditer(text)]
    for found in _SELECTORS.finditer(text):
        said.append(_readable(bytes(_selector(ord(one)) for one in found[0])))
    return [one for one in said if one]


def _selector(code: int) -> int:
    return code - 0xFE00 if code < 0xE0100 else code - 0xE0100 + 16


_COMMENT = re.compile(r"/\*[^*]{0,60}\*/")
_QUOTES = re.compile(r"(?<=\w)(?:''|\"\"|\\|\^)(?=\w)|\$@|\$\{ifs\}|\$ifs(?:\$9)?|\{(?=\w{1,12},)", re.IGNORECASE)
_SPACED = re.compile(r"(?<![a-z])[a-z](?:[ .*_-][a-z]){2,}(?![a-z])")
_SEEMS_SPACED = re.compile(r"[ .*_-][a-z][ .*_-][a-z](?![a-z])")
_LEET = str.maketrans("013457@$!", "oieastasi")
_LEET_L = str.maketrans("013457@$!", "oleastasi")
_LEET_WORD = re.compile(r"[013457@$!](?:(?<=[a-z].)(?=[a-z013457@$!])|(?=[a-z]{3}))")


def without_comments(text: str) -> str:
    """SQL whose comments stand where spaces would, or within words."""
    if "/*" not in text:
        return text
    return f"{_COMMENT.sub(' ', text)}{SEPARATOR}{_COMMENT.sub('', text)}"


def without_quotes(text: str) -> str:
    """A shell line without what the shell itself takes out: empty quotes, backslashes, $IFS."""
    if "''" in text or '""' in text or "\\" in text or "^" in text or "$" in text or "{" in text:
        return _QUOTES.sub(lambda found: " " if found[0][0] in "${" and found[0] != "$@" else "", text)
    return text


def without_leet(text: str) -> str:
    """Lower-case text whose letters were replaced by digits, and whose words were spaced out."""
    if _SEEMS_SPACED.search(text):
        text = _SPACED.sub(lambda found: found[0][::2], text)
    if not _LEET_WORD.search(text):
        return text
    return f"{text.translate(_LEET)}{SEPARATOR}{text.translate(_LEET_L)}"
