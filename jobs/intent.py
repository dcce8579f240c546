"""What a call is about to do, in words for the person who has to say yes to it.

Its parts were written by authors of tools, by models and by whoever a model read. So each is put where it cannot pass
for another part, and what nobody would see in it is shown by its number.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from jobs.hidden import without
from lib.detect.disguise import marked
from tools.calls import Ready
from tools.catalog import LiveTool

_MOST_MESSAGE = 1500
MOST_SHOWN = 20_000
"""Characters of an argument that a page of ours shows."""
MOST_LINES = 200
"""Arguments that it shows."""
_LEAST_LINE = 60
_MOST_NAME = 64
_MOST_LINE = 600
_CUT = "characters are not shown"
_PLAIN_NAME = re.compile(r"[A-Za-z_][\w.-]{0,63}", re.ASCII)
_MOST_SAID = 300
_SENTENCE = re.compile(r"(?<=[.!?])\s")
_UNSEEN = "Characters that nobody sees are shown by their numbers, like [U+200B]."


@dataclass(frozen=True, kw_only=True, slots=True)
class Intent:
    """One call before it runs.

    arguments: as they would be sent, but for secrets. changes: what it does to the world, by what its makers declare.
    words: their own. destination: where it goes. said: why somebody is asked.
    """

    tool: str
    title: str
    arguments: Mapping[str, Any]
    destructive: bool
    changes: str
    words: str
    destination: str
    said: str


def intent_of(ready: Ready, said: str = "") -> Intent:
    """Of a call with its arguments as they would be run."""
    tool = ready.tool
    description = " ".join(str(tool.manifest.get("description", "")).split())
    return Intent(
        tool=tool.name,
        title=_one_line(str(tool.manifest.get("title") or ""), 100),
        arguments=without(_in_order(ready.arguments, tool.manifest.get("inputSchema") or {}), tool.hidden),
        destructive="destructive" in tool.subject.traits,
        changes=_changes(tool),
        words=_one_line(_SENTENCE.split(description, 1)[0], _MOST_SAID),
        destination=_one_line(_destination(tool), 200),
        said=_one_line(said, _MOST_SAID),
    )


def fits_a_message(intent: Intent) -> bool:
    """Whether a host's message can show all of it, so that a yes to that is a yes to everything."""
    room = _MOST_MESSAGE // 2
    for name, value in intent.arguments.items():
        line = _line(name, value, _MOST_LINE)
        room -= len(line) + 1
        if room < 0 or _CUT in line:
            return False
    return True


def message(intent: Intent) -> str:
    """For a host to show: plain text of some 1500 characters at the most, an argument to a line."""
    head = f"{intent.title} ({intent.tool})" if intent.title else intent.tool
    tail = [f"{intent.changes} It goes to {intent.destination}."]
    if intent.words:
        tail.append(f"What its makers say: {intent.words}")
    if intent.said:
        tail.append(f"Why you are asked: {intent.said}")
    asked = [f"{head} is about to run. Say yes only to what you see here."]
    lines = _lines(intent, _MOST_MESSAGE - sum(map(len, asked + tail)))
    if _has_unseen(intent.arguments):
        tail.append(_UNSEEN)
    return "\n".join([*asked, *lines, *tail])


def sheet(intent: Intent) -> dict[str, Any] | None:
    """For a page of ours: JSON with every argument as a text of its own, with its line breaks. None where the page
    could not show all of it, as nobody says yes to what they cannot see."""
    if len(intent.arguments) > MOST_LINES:
        return None
    shown = [[_named(name), _shown(value)] for name, value in intent.arguments.items()]
    if any(_CUT in text for pair in shown for text in pair):
        return None
    return {
        "title": intent.title,
        "destructive": intent.destructive,
        "changes": intent.changes,
        "words": intent.words,
        "destination": intent.destination,
        "said": intent.said,
        "arguments": shown,
        "unseen": _UNSEEN if _has_unseen(intent.arguments) else "",
    }


def _lines(intent: Intent, room: int) -> list[str]:
    """An argument each, so that they share the room; what is not shown is counted."""
    given = list(intent.arguments.items())
    if not given:
        return ["It takes no arguments."]
    share = max(_LEAST_LINE, room // min(len(given), room // (_LEAST_LINE * 2)))
    fitting = max(1, room // share)
    lines = [_line(name, value, share) for name, value in given[:fitting]]
    if len(given) > fitting:
        lines.append(f"- and {len(given) - fitting} more arguments that are not shown here")
    return lines


def _line(name: str, value: Any, most: int) -> str:
    return f"- {_named(name)}: {_one_line(_written(value), most)}"


def _named(name: str) -> str:
    """An argument's name, in quotes where it could pass for more than a name."""
    return name if _PLAIN_NAME.fullmatch(name) else _one_line(_written(name), _MOST_NAME)


def _in_order(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """What the tool knows first, in its own order: a model chooses in which order, and what else, it sends."""
    properties = schema.get("properties")
    known = [name for name in properties if name in arguments] if isinstance(properties, Mapping) else []
    return {**{name: arguments[name] for name in known}, **arguments}


def _written(value: Any) -> str:
    """As JSON, which keeps text within its quotes and on its line."""
    return json.dumps(value, ensure_ascii=False)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return _cut(marked(_cut(text, MOST_SHOWN)), MOST_SHOWN)


def _one_line(text: str, most: int) -> str:
    return _cut(" ".join(marked(_cut(text, most)).splitlines()), most)


def _cut(text: str, most: int) -> str:
    """With its middle left out where it is too long, so that its end cannot hide."""
    if len(text) <= most:
        return text
    end = most // 3
    begin = most - end
    return f"{text[:begin]} [{len(text) - begin - end:,} {_CUT}] {text[-end:]}"


def _has_unseen(value: Any) -> bool:
    return marked(text := _written(value)[:MOST_SHOWN]) != text


def _changes(tool: LiveTool) -> str:
    """By its annotations, which its makers answer for."""
    if "destructive" in tool.subject.traits:
        return "It can change or delete what is there, and that may be impossible to undo."
    return "It only reads." if "read_only" in tool.subject.traits else "It adds or changes something."


def _destination(tool: LiveTool) -> str:
    if tool.connection is None:
        return "no other system than this hub, as far as it knows"
    return f"{urlsplit(tool.connection.base_url).netloc.rpartition('@')[2]} ({tool.connection.name})"
