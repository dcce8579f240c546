"""Small pieces of markup that every page shares: times, JSON, text to copy. Everything from outside is escaped."""

import datetime
import json
import re
from typing import Any

from django.utils import timezone
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.timesince import timesince, timeuntil

# A JSON token: a string that is a key, any other string, a number, a word.
_TOKEN = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=\s*:)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<value>-?\d[\d.eE+-]*|true|false|null)'
)


def when(moment: datetime.datetime | None, *, never: str = "never") -> SafeString:
    """A time as people say it, with the exact one on hover; admin.js turns that into the reader's zone."""
    if moment is None:
        return format_html('<span class="mh-quiet">{}</span>', never)
    return format_html(
        '<time class="mh-when" datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        f"{moment.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC",
        _relative(moment, timezone.now()),
    )


def _relative(moment: datetime.datetime, now: datetime.datetime) -> str:
    seconds = (now - moment).total_seconds()
    if abs(seconds) < 1:
        return "just now"
    if abs(seconds) < 60:
        return f"{seconds:.0f} s ago" if seconds > 0 else f"in {-seconds:.0f} s"
    return f"{timesince(moment, now, depth=1)} ago" if seconds > 0 else f"in {timeuntil(moment, now, depth=1)}"


def pretty(value: Any, *, sort: bool = False) -> str:
    """JSON as people write it."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str, sort_keys=sort)


MOST_SHOWN = 200_000
"""Characters of JSON that a page shows: a browser is slow to draw more, and nobody reads it there."""


def coloured(value: Any) -> SafeString:
    """JSON with its keys, texts and values in spans that the stylesheet colours; cut, and saying so, at MOST_SHOWN."""
    whole = pretty(value)
    if len(whole) <= MOST_SHOWN:
        return _coloured(whole)
    rest = f"\n… and {len(whole) - MOST_SHOWN:,} characters more. Only the first {MOST_SHOWN:,} are shown."
    return _coloured(whole[:MOST_SHOWN]) + format_html('<em class="mh-quiet">{}</em>', rest)


def _coloured(source: str) -> SafeString:
    parts, place = [], 0
    for token in _TOKEN.finditer(source):
        parts.append(escape(source[place : token.start()]))
        parts.append(format_html('<span class="mh-json-{}">{}</span>', token.lastgroup, token.group()))
        place = token.end()
    parts.append(escape(source[place:]))
    return mark_safe("".join(parts))  # noqa: S308 - every part is escaped above


def json_block(value: Any) -> SafeString:
    """JSON in a box of its own."""
    return format_html('<pre class="mh-code" tabindex="0">{}</pre>', coloured(value))


def copyable(text: str, *, label: str = "Copy") -> SafeString:
    """Text with a button that copies it."""
    button = format_html('<button type="button" class="mh-button" data-copy="{}">{}</button>', text, label)
    return format_html('<span class="mh-copy"><code>{}</code> {}</span>', text, button)
