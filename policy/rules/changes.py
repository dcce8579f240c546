"""Changing arguments: places in them, and what a transform does there. Nothing is changed in place."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

MAX_STEPS = 16
MAX_DEPTH = 64
MASKED = "***"

Step = str | int | None
"""The name of a property, the number of an item, or None for each of them."""
Edit = Callable[[Any], Any]
"""From what stands at a place, ABSENT for nothing, to what shall stand there, ABSENT for nothing."""


class _Absent:
    """Its one instance stands for what is not there."""


ABSENT = _Absent()
_STEP = re.compile(
    r"""\.?(?P<each>\*)|\.?(?P<name>[A-Za-z_$][\w$-]*)|\[(?P<item>\d{1,5})\]|\["(?P<quoted>[^"\\]+)"\]"""
)


def path(written: str) -> tuple[Step, ...]:
    """`a.b[0].c`, `lines.*.price`, `a["b c"]` as steps. Raises ValueError in a sentence."""
    steps: list[Step] = []
    position = 0
    while position < len(written):
        found = _STEP.match(written, position)
        if found is None or (written[position] == ".") is not (position > 0 and written[found.end() - 1] not in "]"):
            break
        steps.append(_step(found))
        position = found.end()
    if position < len(written) or not steps or not isinstance(steps[0], str | None):
        raise ValueError(
            f"{written[:80]!r} is not a path. Write it like amount, customer.email, lines[0].price or lines.*.price."
        )
    if len(steps) > MAX_STEPS:
        raise ValueError(f"A path has at most {MAX_STEPS} steps.")
    return tuple(steps)


def _step(found: re.Match[str]) -> Step:
    if found["each"]:
        return None
    return int(found["item"]) if found["item"] else found["name"] or found["quoted"]


def edited(node: Any, steps: Sequence[Step], edit: Edit) -> Any:
    """The same value with the places that `steps` lead to edited; the same object where nothing changes there.

    A place that is not there is edited as ABSENT where only names of properties lead to it.
    """
    if not steps:
        return edit(node)
    step, rest = steps[0], steps[1:]
    if isinstance(node, Mapping):
        return _edited_object(node, step, rest, edit)
    if isinstance(node, list | tuple):
        return _edited_list(node, step, rest, edit)
    if node is ABSENT and isinstance(step, str):
        made = edited(ABSENT, rest, edit)
        return ABSENT if made is ABSENT else {step: made}
    return node


def _edited_object(node: Mapping[str, Any], step: Step, rest: Sequence[Step], edit: Edit) -> Any:
    if isinstance(step, int):
        return node
    names = [step] if step is not None else list(node)
    news = {name: edited(node.get(name, ABSENT), rest, edit) for name in names}
    if all(new is node.get(name, ABSENT) for name, new in news.items()):
        return node
    return {name: value for name, value in {**node, **news}.items() if value is not ABSENT}


def _edited_list(node: Sequence[Any], step: Step, rest: Sequence[Step], edit: Edit) -> Any:
    if isinstance(step, str):
        return node
    numbers = range(len(node)) if step is None else [step] if step < len(node) else []
    news = {number: edited(node[number], rest, edit) for number in numbers}
    if all(new is node[number] for number, new in news.items()):
        return node
    return [value for number, old in enumerate(node) if (value := news.get(number, old)) is not ABSENT]


def setting(value: Any) -> Edit:
    """Put a value there, whatever was there before."""
    return partial(_set, value)


def _set(value: Any, old: Any) -> Any:
    return old if _same(old, value) else value


def _same(old: Any, new: Any) -> bool:
    """Equal as JSON, where true is not 1."""
    return old is new or (type(old) is type(new) and _as_json(old) == _as_json(new))


def _as_json(value: Any) -> Any:
    """Something that is equal for equal JSON alone: containers as their text."""
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


def remove(old: Any) -> Any:
    """Take away what is there."""
    return ABSENT


def mask(old: Any, depth: int = 0) -> Any:
    """Hide what is there and keep its shape: text as `***`, numbers as 0, true as false."""
    if old is None or old is ABSENT:
        return old
    if isinstance(old, bool | int | float):
        return _set(type(old)(), old)
    if depth < MAX_DEPTH and isinstance(old, Mapping):
        hidden = {name: mask(value, depth + 1) for name, value in old.items()}
        return old if all(hidden[name] is old[name] for name in old) else hidden
    if depth < MAX_DEPTH and isinstance(old, list | tuple):
        items = [mask(value, depth + 1) for value in old]
        return old if all(new is value for new, value in zip(items, old, strict=True)) else items
    return _set(MASKED, old)


def clamping(least: float | None, most: float | None) -> Edit:
    """Bring a number that is there within bounds; leave alone what is no number."""
    return partial(_clamp, least, most)


def _clamp(least: float | None, most: float | None, old: Any) -> Any:
    if isinstance(old, bool) or not isinstance(old, int | float):
        return old
    if least is not None and not old >= least:  # so that NaN comes within bounds too
        return least
    if most is not None and not old <= most:
        return most
    return old
