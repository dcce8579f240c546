"""A tenant's limits, ready to charge calls by. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from policy.charges import Charge, LimitRule, Mode, Use, charges, stray_charges
from policy.models import Counts
from policy.values import Subject
from tenants.caller import Caller

_MOST_KEPT: Final = 256
_REPEATS: Final = Counts.REPEATS.value


class Bill:
    """What a call is charged, written down.

    buckets; costs, windows and modes, as Postgres writes the items of an array: of the charges, in their order.
    held: those that are held while the call runs. fresh: buckets that hardly any statement finds there already.
    """

    __slots__ = ("buckets", "charges", "costs", "fresh", "held", "modes", "windows")

    def __init__(self, charged: Iterable[Charge]) -> None:
        self.charges = tuple(charged)
        self.buckets = tuple(one.bucket for one in self.charges)
        self.costs = ",".join(str(one.cost) for one in self.charges)
        self.windows = ",".join(str(one.window) for one in self.charges)
        self.modes = ",".join(str(int(one.mode)) for one in self.charges)
        self.held = tuple(one for one in self.charges if one.mode >= Mode.SLOT)
        self.fresh = tuple(one.bucket for one in self.charges if one.rule.counts == _REPEATS)


class Limits:
    """A tenant's limits. Safe to share between threads.

    What a call is charged is the same for all calls of one tool by one caller, but for the digest of its arguments, so
    that it is worked out once.
    """

    __slots__ = ("_kept", "repeats", "rules")

    def __init__(self, rules: Iterable[LimitRule] = ()) -> None:
        self.rules = tuple(rules)
        self.repeats = any(rule.counts == _REPEATS for rule in self.rules)
        self._kept: dict[tuple[frozenset[str], Subject, str, int, str], Sequence[Bill]] = {}

    def bills(self, use: Use, counts: frozenset[str]) -> Sequence[Bill]:
        """What a call is charged, all of it or nothing, by those that count one of `counts`."""
        known = self._known(use, counts)
        if not (use.digest and self.repeats and _REPEATS in counts):
            return known
        return *known, *_bills(charges(use, self._counting(frozenset({_REPEATS}))))

    def stray(self, caller: Caller, digest: str = "") -> Sequence[Bill]:
        """The same for a call of no tool."""
        return _bills(stray_charges(caller, self.rules, digest))

    def _known(self, use: Use, counts: frozenset[str]) -> Sequence[Bill]:
        """What does not depend on the arguments. Bounded, as whoever comes with a new credential adds to it."""
        caller = use.caller
        asked = (counts, use.subject, caller.credential, caller.member_id, caller.client_id)
        kept = self._kept.get(asked)
        if kept is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            kept = self._kept[asked] = _bills(charges(use, self._counting(counts - {_REPEATS})))
        return kept

    def _counting(self, counts: frozenset[str]) -> list[LimitRule]:
        return [rule for rule in self.rules if rule.counts in counts]


def _bills(charged: Sequence[Charge]) -> Sequence[Bill]:
    """None where nothing is charged."""
    return (Bill(charged),) if charged else ()


NO_LIMITS: Final = Limits()
