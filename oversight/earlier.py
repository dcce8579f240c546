"""How often a call of a kind came lately, counted again from the ledger: in the slots that `policy.history` counts."""

import datetime
from collections.abc import MutableSequence
from dataclasses import dataclass, field
from typing import Final

_SLOTS: Final = 60
_MOST_KEYS = 20_000
"""Windows that are remembered at once; the ones that were noted first make room."""


@dataclass(kw_only=True)
class Earlier:
    """Calls by window. Noted in the order in which they came."""

    slots: dict[str, MutableSequence[list[float]]] = field(default_factory=dict)

    def note(self, key: str, seconds: int, at: datetime.datetime) -> int:
        """Note one more call, and answer how many came within so many seconds before it."""
        kept = self.slots.pop(key, [])
        width = seconds / _SLOTS
        slot = at.timestamp() // width
        while kept and kept[0][0] < slot - _SLOTS:
            del kept[0]
        before = int(sum(number for _, number in kept))
        if kept and kept[-1][0] == slot:
            kept[-1][1] += 1
        else:
            kept.append([slot, 1])
        self.slots[key] = kept
        if len(self.slots) > _MOST_KEYS:
            del self.slots[next(iter(self.slots))]
        return before
