"""Looking through arguments for what does not belong there. What is found is an input of rules, not a verdict."""

import logging
from collections.abc import Mapping
from itertools import islice
from typing import Any

from django.conf import settings

from lib.detect import attacks, classifier, decode
from tools.catalog import LiveTool
from tools.threads import Crew

log = logging.getLogger(__name__)

MOST_TEXT = 65536
"""Characters of arguments that are looked at, keys and values together."""
MOST_VALUES = 5000
_MUCH = 1024
"""Characters from which on a look takes milliseconds, and a thread takes it."""
_NOTHING: frozenset[str] = frozenset()
_inspectors = Crew("tools.inspection", 1)


async def inspected(tool: LiveTool, arguments: Mapping[str, Any], *, tenant_id: int) -> frozenset[str]:
    """As `found` gives it. Done in a thread when there is much to look at, so that the calls of others go on."""
    if not tool.inspect and not tool.high_risk:
        return _NOTHING
    text, whole = _text(arguments)
    if len(text) < _MUCH:
        return _found(tool, text, whole)
    return await _inspectors.run_for(tenant_id, _found, tool, text, whole)


def found(tool: LiveTool, arguments: Mapping[str, Any]) -> frozenset[str]:
    """The names of the detectors that the tool asks for and that found something.

    `classifier` is one of them for a tool of high risk, and `too_long` says that there is more than was looked at.
    """
    return _found(tool, *_text(arguments)) if tool.inspect or tool.high_risk else _NOTHING


def _found(tool: LiveTool, text: str, whole: bool) -> frozenset[str]:
    levels, decoded = decode.levels(text)
    names = attacks.among(levels, tool.inspect) if tool.inspect else _NOTHING
    if tool.high_risk:
        suspected, judged = _suspected(tool, levels)
        whole = whole and judged
        names = names | {attacks.CLASSIFIER} if suspected else names
    return names if whole and decoded else names | {attacks.TOO_LONG}


def _text(arguments: Mapping[str, Any]) -> tuple[str, bool]:
    """Every text in the arguments, names included, one after the other; and whether these are all."""
    texts: list[str] = []
    waiting: list[Any] = [arguments]
    left = MOST_VALUES
    while waiting and left:
        left -= 1
        value = waiting.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, Mapping):
            shown = list(islice(value.items(), left + 1))
            texts += [name for name, _ in shown]
            waiting += [inner for _, inner in shown]
        elif isinstance(value, list | tuple):
            waiting += value[: left + 1]
    joined = decode.SEPARATOR.join(texts)
    return joined[:MOST_TEXT], not waiting and len(joined) <= MOST_TEXT


def _suspected(tool: LiveTool, levels: list[str]) -> tuple[bool, bool]:
    """What the classifier says, and whether it saw everything. One that fails has cleared nobody, so that is a hit."""
    try:
        judge = classifier.load(settings.INPUT_CLASSIFIER)
        return classifier.suspects(judge, levels) if judge is not None else (False, True)
    except Exception as problem:
        log.error("the classifier %s failed at %s: %s", settings.INPUT_CLASSIFIER, tool.name, type(problem).__name__)  # noqa: TRY400
        return True, True
