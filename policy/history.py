"""What went before: how often a call of a kind came lately, exact across every worker.

A window is kept as sixty slots and the one that is being filled. A slot that is only partly within the window counts
wholly, so never too few are counted, and too many only by what came in the last sixtieth before the window.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

from lib import db
from lib.batch import Batch
from policy.values import Window

_Key = tuple[str, int]
"""The name of a window's row, and its seconds."""
_batches: WeakKeyDictionary[asyncio.AbstractEventLoop, Batch[frozenset[_Key], Mapping[_Key, int]]] = WeakKeyDictionary()


async def count(windows: Sequence[Window]) -> Mapping[str, int]:
    """Note one more call in each window, and answer by its rule how many came before it there."""
    if not windows:
        return {}
    keys = {window.rule: (f"{window.seconds}/{window.bucket}", window.seconds) for window in windows}
    before = await _batch()(frozenset(keys.values()))
    return {rule: before[key] for rule, key in keys.items()}


def _batch() -> Batch[frozenset[_Key], Mapping[_Key, int]]:
    loop = asyncio.get_running_loop()
    if loop not in _batches:
        _batches[loop] = Batch(_count, most=200, room=5000)
    return _batches[loop]


async def _count(calls: Sequence[frozenset[_Key]]) -> list[Mapping[_Key, int]]:
    """Calls of one batch come after each other, in the order they were handed in."""
    times = Counter(key for keys in calls for key in keys)
    rows = await db.lane("history").fetch(
        "SELECT key, inside FROM policy_note(%s::text[], %s::float8[], %s::int[])",
        [[name for name, _ in times], [float(seconds) for _, seconds in times], list(times.values())],
    )
    inside = dict(rows)
    before = {key: inside[key[0]] - noted for key, noted in times.items()}
    answers: list[Mapping[_Key, int]] = []
    for keys in calls:
        answers.append({key: before[key] for key in keys})
        for key in keys:
            before[key] += 1
    return answers
