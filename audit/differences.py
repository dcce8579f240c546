"""What differs between two JSON values, as two sides that fit a ledger entry: what is the same is left out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from audit import entries
from lib import redact

_MOST_TEXT = 200
_BEFORE_DIFFERENCE = 40
_MOST_ITEMS = 20
_MOST_DEPTH = 12

Sides = tuple[Any, Any]


def sides(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields that differ, as they were and as they are; every one of them, however many.

    Secrets are left out as in any preview. Of long text the part around the first difference is kept, of long lists
    what was taken out and put in, each bounded, with a digest of the whole: no change looks like none.
    A field that one side lacks is the same as an empty (null) one.
    """
    was = {name: value for name, value in old.items() if value is not None or name in new}
    now = {name: value for name, value in new.items() if value is not None or name in old}
    return _objects(was, now, most=None, depth=0)


def _objects(
    old: Mapping[str, Any], new: Mapping[str, Any], *, most: int | None, depth: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    differ = [
        name for name in sorted({*old, *new}) if name not in old or name not in new or not _same(old[name], new[name])
    ]
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for name in differ[:most]:
        shown, secret = redact.named(name)
        if name in old and name in new and not secret:
            before[shown], after[shown] = _values(old[name], new[name], depth + 1)
            continue
        before |= _one_sided(name, old)
        after |= _one_sided(name, new)
    if most is not None and len(differ) > most:
        more = f"{len(differ) - most} more"
        before["…"], after["…"] = _digested(more, old), _digested(more, new)
    return before, after


def _same(old: Any, new: Any) -> bool:
    """Equal as JSON: Python holds True equal to 1."""
    return bool(old == new) and _key(old) == _key(new)


def _one_sided(name: str, side: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = redact.preview({name: side[name]}) if name in side else {}
    return shown


def _values(old: Any, new: Any, depth: int) -> Sides:
    if isinstance(old, Mapping) and isinstance(new, Mapping) and depth < _MOST_DEPTH:
        return _objects(old, new, most=_MOST_ITEMS, depth=depth)
    if isinstance(old, list) and isinstance(new, list) and max(len(old), len(new)) > _MOST_ITEMS:
        return _lists(old, new)
    if isinstance(old, str) and isinstance(new, str) and max(len(old), len(new)) > _MOST_TEXT:
        return _texts(old, new)
    before, after = redact.preview(old), redact.preview(new)
    if before == after or _shortened(before, old) or _shortened(after, new):
        return _digested(before, old), _digested(after, new)
    return before, after


def _shortened(shown: Any, value: Any) -> bool:
    """Whether a difference may lie in what a preview leaves out."""
    return isinstance(value, list | Mapping) and shown != value


def _digested(shown: Any, value: Any) -> dict[str, Any]:
    return {"shown": shown, "digest": entries.digest(value)}


def _lists(old: list[Any], new: list[Any]) -> Sides:
    """What was taken out, beside what was put in; both are empty when only the order changed."""
    ours, theirs = Counter(map(_key, old)), Counter(map(_key, new))
    return (
        {"items": len(old), "removed": _some(old, ours - theirs), "digest": entries.digest(old)},
        {"items": len(new), "added": _some(new, theirs - ours), "digest": entries.digest(new)},
    )


def _some(items: Sequence[Any], wanted: Counter[bytes]) -> Any:
    """The preview, which is bounded and counts the rest, of those items that are wanted, each as often as it is."""
    found = []
    for item in items:
        key = _key(item)
        if wanted[key] > 0:
            wanted[key] -= 1
            found.append(item)
    return redact.preview(found)


def _key(item: Any) -> bytes:
    try:
        return orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return entries.digest(item).encode()


def _texts(old: str, new: str) -> Sides:
    """The part around the first difference, of each side. Secrets are taken out first: a part may hold half of one."""
    before, after = redact.secrets(old), redact.secrets(new)
    pairs = zip(before, after, strict=False)
    differ = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(before), len(after)))
    start = max(0, differ - _BEFORE_DIFFERENCE)
    return _part(before, start, old), _part(after, start, new)


def _part(text: str, start: int, whole: str) -> dict[str, Any]:
    end = start + _MOST_TEXT - _BEFORE_DIFFERENCE
    shown = f"{'…' if start else ''}{text[start:end]}{'…' if len(text) > end else ''}"
    return {"shown": shown, "characters": len(whole), "digest": entries.digest(whole)}
