"""The rules of consents, codes and tokens once more, as plainly as they can be written down, for test_lifecycle."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from tests.access.desk import READ as MAY_READ
from tests.access.desk import WRITE as MAY_WRITE
from tests.access.program import Asked

READ: Final = frozenset({MAY_READ})
BOTH: Final = frozenset({MAY_READ, MAY_WRITE})
HOUR: Final = 3600.0
GRACE: Final = 45.0
CODE: Final = 60.0
FOREVER: Final = float("inf")


@dataclass(eq=False)
class Yes:
    """A consent."""

    client: int
    scopes: frozenset[str]
    until: float
    gone: bool = False


@dataclass(eq=False)
class Family:
    """What comes of one code, and falls together."""

    yes: Yes
    scopes: frozenset[str]
    gone: bool = False


@dataclass(eq=False)
class Code:
    secret: str
    asked: Asked
    family: Family
    expires: float
    until: float
    spent: bool = False
    withdrawn: bool = False


@dataclass(eq=False)
class Access:
    secret: str
    family: Family
    scopes: frozenset[str]
    expires: float


@dataclass(eq=False)
class Refresh:
    secret: str
    family: Family
    access: Access
    until: float
    superseded: float | None = None
    successor: Refresh | None = None


@dataclass
class Model:
    """What must be so."""

    ahead: float = 0.0
    active: bool = True
    blocked: set[int] = field(default_factory=set)
    yeses: dict[int, Yes] = field(default_factory=dict)
    families: list[Family] = field(default_factory=list)
    codes: list[Code] = field(default_factory=list)
    tokens: list[Access] = field(default_factory=list)
    refreshes: list[Refresh] = field(default_factory=list)

    @property
    def now(self) -> float:
        return time.monotonic() + self.ahead

    def holds(self, family: Family) -> bool:
        """Whether anything of this family may be used at all."""
        return (
            self.active
            and not family.gone
            and not family.yes.gone
            and family.yes.client not in self.blocked
            and self.now < family.yes.until
        )

    def live(self, token: Access) -> bool:
        return self.holds(token.family) and self.now < token.expires

    def say_yes(self, client: int, offered: frozenset[str], ticked: frozenset[str], until: float) -> Yes:
        """One consent for each client. Taking scopes or time away takes its tokens away, adding to it does not."""
        yes = self.yeses.get(client)
        if yes is None or yes.gone or yes.until <= self.now:
            yes = self.yeses[client] = Yes(client, ticked, until)
            return yes
        if (yes.scopes & offered) - ticked or until < yes.until:
            self.withdraw(yes)
        yes.scopes = ticked | (yes.scopes - offered)
        yes.until = until
        return yes

    def withdraw(self, yes: Yes) -> None:
        for family in self.families:
            family.gone = family.gone or family.yes is yes
        for code in self.codes:
            code.withdrawn = code.withdrawn or code.family.yes is yes

    def redeemable(self, code: Code) -> bool:
        fresh = not code.spent and not code.withdrawn and self.now < min(code.expires, code.until)
        return fresh and self.holds(code.family)

    def in_grace(self, token: Refresh) -> bool:
        """Whether presenting it again is forgiven: soon, and its successor lies unused."""
        after = token.successor
        soon = token.superseded is not None and self.now - token.superseded < GRACE
        return soon and after is not None and after.superseded is None
