"""Whether a question is answered already, so that nobody has to be asked. Pure; decision 0015 says why each rule.

No parameter of the request is an input: what a client says about itself or about the page does not count.
"""

import datetime
from dataclasses import dataclass

from access.consent.offer import Offer

HOUR = datetime.timedelta(hours=1)
SPANS: dict[str, datetime.timedelta | None] = {
    "hour": HOUR,
    "day": datetime.timedelta(days=1),
    "month": datetime.timedelta(days=30),
    "forever": None,
}
"""How long a yes may hold; None until it is taken back."""

USUAL = "month"


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What there is of an earlier yes: whether it holds now, for which scopes, answered where."""

    live: bool
    scopes: frozenset[str]
    origin: str


def answers(old: Standing | None, offer: Offer, *, origin: str, vouched: bool, source: str) -> bool:
    """Whether the earlier yes answers this offer.

    origin: where the answer would go now. vouched: whether only that domain's owner receives it (not so for loopback
    and private schemes, RFC 8252 section 8.6). source: `Client.registration_source`.
    """
    if old is None or not old.live or not vouched or source == "dcr":
        return False
    if origin != old.origin or not offer.grantable:
        return False
    return offer.scopes <= old.scopes and not offer.fresh and not offer.always_gained


def span_of(length: datetime.timedelta | None) -> str:
    """The span that was chosen then, to be proposed again."""
    return next((name for name, offered in SPANS.items() if offered == length), USUAL)
