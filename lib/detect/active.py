"""Active content in a text: what runs, loads or sends something as soon as the text is shown as HTML or Markdown."""

import html
import re
from collections.abc import Iterator

from lib.detect.links import Allowed
from lib.detect.sieve import Sieve

REMOVED = "[active content removed]"
_WITH_CONTENT = "script|iframe|object|embed|applet|frameset|frame|portal|noscript|template|svg|math|style|xml"
_SCHEMES = ("javascript:", "vbscript:", "data:")
_HARMLESS_DATA = re.compile(
    r"data:(?:image/(?:png|jpe?g|gif|webp|avif|bmp)|audio/[\w.+-]{1,40}|font/[\w.+-]{1,40})[;,]", re.IGNORECASE
)

SIEVE = (
    rf"(?i)<[\s/]*(?:{_WITH_CONTENT}|form|input|button|select|textarea|link|meta|base|video|audio|source|track|img|image)(?-u:\b)",
    r"(?i)<[a-z][^<>]*[\s/\"']on[a-z]+\s*=",
    r"(?i)<[a-z][^<>]*\s(?:style|background|srcset|poster)\s*=",
    r"(?i)(?:javascript|vbscript)\s*:|data:\s*(?:text/|application/|image/svg)|&colon;|&#0*58|&#x0*3a|\]\(\s*<?\s*(?:data|j[\s]*a[\s]*v)",
    r"(?i)<[a-z][^<>]*=[^<>]*&(?:#|[a-z]+;)|\]\([^()\s]*&(?:#|[a-z]+;)",
    r"!\[",
)
"""For a Sieve: what the functions below take out has one of these."""
_ELEMENT = re.compile(rf"<\s{{0,5}}(/?)\s{{0,5}}({_WITH_CONTENT})\b[^<>]{{0,4000}}>?", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([a-z][a-z0-9:-]{0,30})\b([^<>]{0,4000})(>?)", re.IGNORECASE)
_FORM_TAG = re.compile("form|input|button|select|textarea|link|meta|base", re.IGNORECASE)
_LOADS = re.compile("img|image|video|audio|source|track|body|table|td|th|input", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"([^\s=\"'/<>]{1,60}+)(\s{0,5}=\s{0,5}(?:\"([^\"]{0,4000})\"?|'([^']{0,4000})'?|([^\s\"'<>]{1,4000}+)))"
)
_LEADS = frozenset(
    {
        "href",
        "src",
        "action",
        "formaction",
        "xlink:href",
        "srcdoc",
        "background",
        "poster",
        "data",
        "srcset",
        "ping",
        "cite",
        "lowsrc",
        "dynsrc",
    }
)
_LOADING = frozenset({"src", "srcset", "background", "poster", "data", "lowsrc", "dynsrc", "ping"})
_IN_STYLE = re.compile(r"url\s{0,5}\(\s{0,5}[\"']?([^\"')\s]{1,2000})|expression\s{0,5}\(|@import", re.IGNORECASE)
_IMAGE = re.compile(
    r"!\[([^\[\]\n]{0,500}+)\](?:\(\s{0,5}<?([^\s()<>]{1,2000}+)[^()\n]{0,500}+\)?|\[([^\[\]\n]{0,200}+)\])?"
)
_DEFINITION = re.compile(r"^[ >]{0,6}\[([^\[\]\n]{1,200}+)\]:\s{0,5}<?([^\s<>]{1,2000}+)", re.MULTILINE)
_TARGET = re.compile(r"(\]\(\s{0,5}<?\s{0,5})([a-z&](?:[^()<>\n]|\([^()\n]{0,200}\)){0,2000})", re.IGNORECASE)
_RUNNING = re.compile(
    r"(?<![a-z])(?:(?:javascript|vbscript):(?=[^\s\"'<>])|data:\s{0,3}(?:text/html|text/xml|application/(?:x-)?(?:java|ecma)script|text/javascript|application/xhtml|image/svg))[^\s\"'<>)\]]{0,4000}+",
    re.IGNORECASE,
)
_sieve = Sieve(SIEVE)


def is_suspect(text: str) -> bool:
    """Whether a closer look is worth it. Valid Unicode only."""
    return _sieve.catches(text)


def without_active(text: str, allowed: Allowed) -> tuple[str, int]:
    """The text without what is active, and how much that was. allowed: where images may be loaded from."""
    if not is_suspect(text):
        return text, 0
    count = 0
    for cleaner in (_without_elements, _without_tags, _without_images, _without_targets):
        text, found = cleaner(text, allowed)
        count += found
    text, found = _RUNNING.subn(REMOVED, text)
    return text, count + found


def _without_elements(text: str, allowed: Allowed) -> tuple[str, int]:
    """Elements with all that is in them; one that nothing closes, the tag alone."""
    tags = list(_ELEMENT.finditer(text)) if "<" in text else []
    kept, done, count = [], 0, 0
    for start, end in _elements(tags):
        if start >= done:
            kept += [text[done:start], REMOVED]
            done, count = end, count + 1
    return ("".join([*kept, text[done:]]), count) if count else (text, 0)


def _elements(tags: list[re.Match[str]]) -> Iterator[tuple[int, int]]:
    """Where they begin and end. Read backwards first, so that each tag knows what closes it in one pass."""
    closing: dict[str, int] = {}
    ends: list[int] = []
    for tag in reversed(tags):
        name = tag[2].lower()
        if tag[1]:
            closing[name] = tag.end()
            ends.append(tag.end())
        else:
            ends.append(closing.get(name, tag.end()))
    for tag, end in zip(tags, reversed(ends), strict=True):
        yield tag.start(), end


def _without_tags(text: str, allowed: Allowed) -> tuple[str, int]:
    """HTML tags without what they run, load or send."""
    count = 0

    def judged(found: re.Match[str]) -> str:
        nonlocal count
        closes, name, inside, end = found.groups()
        if _FORM_TAG.fullmatch(name):
            count += not closes
            return ""
        if not inside or closes:
            return found[0]
        shown, removed = _attributes(name, inside, allowed)
        count += removed
        if removed and name.lower() in {"img", "image"}:
            return "[image removed]"
        return f"<{name}{shown}{end}" if removed else found[0]

    return (_TAG.sub(judged, text), count) if "<" in text else (text, 0)


def _attributes(tag: str, inside: str, allowed: Allowed) -> tuple[str, int]:
    count = 0

    def judged(found: re.Match[str]) -> str:
        nonlocal count
        value = next((value for value in found.groups()[2:] if value is not None), "")
        if not _acts(tag, found[1].lower(), value, allowed):
            return found[0]
        count += 1
        return ""

    return _ATTRIBUTE.sub(judged, inside), count


def _acts(tag: str, name: str, value: str, allowed: Allowed) -> bool:
    """Whether an attribute runs something, or loads it from a host that is not allowed."""
    if name.startswith("on") and name.isalpha():
        return True
    if name == "style":
        return any(found[1] is None or not allowed(found[1]) for found in _IN_STYLE.finditer(html.unescape(value)))
    if name in _LEADS and (name == "srcdoc" or runs(value)):
        return True
    if name not in _LOADING or (name == "src" and not _LOADS.fullmatch(tag)):
        return False
    sources = [part.split()[0] for part in value.split(",") if part.split()] if name == "srcset" else [value]
    return any(not _may_load(html.unescape(source), allowed) for source in sources)


def runs(url: str) -> bool:
    """Whether a browser would run a URL or render it in place, as it reads it: entities undone, spaces dropped."""
    read = "".join(html.unescape(url[:4000]).split()).lower()
    return read.startswith(_SCHEMES) and _HARMLESS_DATA.match(read) is None


def _may_load(url: str, allowed: Allowed) -> bool:
    return allowed(url) or _HARMLESS_DATA.match(url.strip()) is not None


def _without_images(text: str, allowed: Allowed) -> tuple[str, int]:
    """Markdown images that would be loaded from elsewhere: their address can carry what the model knows."""
    if "![" not in text:
        return text, 0
    defined = {found[1].strip().lower(): found[2] for found in _DEFINITION.finditer(text)} if "]:" in text else {}
    count = 0

    def judged(found: re.Match[str]) -> str:
        nonlocal count
        label, url, name = found.groups()
        url = url or defined.get((name or label).strip().lower(), "")
        if not url or _may_load(url, allowed):
            return found[0]
        count += 1
        return f"[image removed: {label.strip()}]" if label.strip() else "[image removed]"

    return _IMAGE.sub(judged, text), count


def _without_targets(text: str, allowed: Allowed) -> tuple[str, int]:
    """Markdown links that run something."""
    count = 0

    def judged(found: re.Match[str]) -> str:
        nonlocal count
        if not runs(found[2]):
            return found[0]
        count += 1
        return f"{found[1]}{REMOVED}"

    return (_TARGET.sub(judged, text), count) if "](" in text else (text, 0)
