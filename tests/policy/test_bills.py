"""What calls are charged is worked out once for those that are charged the same."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from policy.charges import LimitRule, Use, charges
from policy.limits import Limits
from policy.models import Counts, Per
from tests.callers import UMA
from tests.policy.limiting import ECHO, SHOUT

CALLERS = [
    UMA,
    replace(UMA, credential="key:2"),
    replace(UMA, credential="app:3", client_id="desk"),
    replace(UMA, member_id=2),
]
SUBJECTS = [ECHO, SHOUT, replace(ECHO, pin="next", units=3), replace(ECHO, most_bytes=5000)]
USES = st.builds(
    Use, caller=st.sampled_from(CALLERS), subject=st.sampled_from(SUBJECTS), digest=st.sampled_from(["", "one", "two"])
)
COUNTS = st.frozensets(st.sampled_from([counts.value for counts in Counts]))
LIMITS = st.lists(
    st.builds(
        LimitRule,
        id=st.integers(1, 9),
        counts=st.sampled_from([counts.value for counts in Counts]),
        per=st.sampled_from([per.value for per in Per]),
        tool=st.sampled_from(["", "echo", "shout"]),
        most=st.integers(1, 100),
        seconds=st.sampled_from([1, 60, 86400]),
        share=st.sampled_from([50, 100]),
    ),
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(LIMITS, st.lists(st.tuples(USES, COUNTS), max_size=8))
def test_every_call_is_charged_what_it_would_be_alone(
    rules: list[LimitRule], asked: list[tuple[Use, frozenset[str]]]
) -> None:
    limits = Limits(rules)
    for use, counts in asked:
        charged = [charge for bill in limits.bills(use, counts) for charge in bill.charges]
        alone = charges(use, [rule for rule in rules if rule.counts in counts])
        assert sorted(charged, key=repr) == sorted(alone, key=repr)


@given(LIMITS, USES)
def test_a_bill_says_in_text_what_its_charges_are(rules: list[LimitRule], use: Use) -> None:
    for bill in Limits(rules).bills(use, frozenset(counts.value for counts in Counts)):
        written = zip(bill.costs.split(","), bill.windows.split(","), bill.modes.split(","), strict=True)
        assert [(float(cost), float(window), int(mode)) for cost, window, mode in written] == [
            (charge.cost, charge.window, charge.mode) for charge in bill.charges
        ]
