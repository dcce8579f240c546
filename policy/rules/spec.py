"""One rule as YAML or JSON writes it. Everything that can be seen to be wrong in it is said in a sentence."""

import datetime
import ipaddress
import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import Enum
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic import ValidationError as Unfit

from policy.conditions import Condition
from policy.rules import changes
from policy.values import Effect, Reviewers
from tenants.models import Role

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TRAITS = ("read_only", "destructive", "idempotent", "open_world")
WAYS = ("key", "app", "client", "outside", "admin", "cli")
TIGHTENING = frozenset({Effect.DENY, Effect.REVIEW, Effect.CONFIRM, Effect.TRANSFORM})
"""Effects of rules that hold for every version of a tool, and also where it cannot be told whether they match."""
ANY = "any"


class _Nothing(Enum):
    """For what was not written, where null may be."""

    NOTHING = 0


def _among(known: Iterable[str]) -> AfterValidator:
    listed = tuple(known)

    def check(value: str) -> str:
        if value not in listed:
            raise ValueError(f"{value!r} is not one of {', '.join(listed)}.")
        return value

    return AfterValidator(check)


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        raise ValueError(f"{value!r} is neither an address nor a range like 10.0.0.0/8.") from None
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, KeyError, OSError):
        raise ValueError(f"{value!r} is no time zone. Write it like Europe/Berlin.") from None
    return value


def _clock(value: str) -> str:
    try:
        datetime.time.fromisoformat(value if len(value) == 5 else "no")
    except ValueError:
        raise ValueError(f"{value!r} is no time of day. Write it like 09:30.") from None
    return value


def _condition(value: str) -> str:
    Condition(value)
    return value


def _path(value: str) -> str:
    changes.path(value)
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("It has to be a number.")
    return value


def _printable(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("It has to be a line of text.")
    return value


Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Path = Annotated[str, Field(max_length=300), AfterValidator(_path)]
Number = Annotated[int | float, AfterValidator(_finite)]
Clock = Annotated[str, AfterValidator(_clock)]
Moment = Annotated[AwareDatetime, Field(strict=False)]

_Role = Annotated[str, _among(Role.values)]
_Way = Annotated[str, _among(WAYS)]
_Trait = Annotated[str, _among([*TRAITS, *(f"not {trait}" for trait in TRAITS)])]
_Day = Annotated[str, _among(DAYS)]
_Network = Annotated[str, AfterValidator(_network)]
_Texts = Annotated[tuple[Text, ...], Field(strict=False, max_length=100)]
_Networks = Annotated[tuple[_Network, ...], Field(strict=False, max_length=100)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Who(_Part):
    """Who calls; what is empty is anybody. clients: patterns of their names, or a credential like `app:7`."""

    users: _Texts = ()
    roles: Annotated[tuple[_Role, ...], Field(strict=False)] = ()
    clients: _Texts = ()
    ways: Annotated[tuple[_Way, ...], Field(strict=False)] = ()


class What(_Part):
    """What is called; what is empty is anything. traits: all of them; of the others any of them."""

    tools: _Texts = ()
    tags: _Texts = ()
    traits: Annotated[tuple[_Trait, ...], Field(strict=False)] = ()
    kinds: _Texts = ()
    scopes: _Texts = ()


class When(_Part):
    """When the call came. A time of day from which is later than until which goes over midnight, and belongs to the day
    on which it began."""

    days: Annotated[tuple[_Day, ...], Field(strict=False)] = ()
    start: Clock | None = Field(default=None, alias="from")
    end: Clock | None = Field(default=None, alias="to")
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    since: Moment | None = None
    until: Moment | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.start is None) is not (self.end is None):
            raise ValueError("Give both from and to, or neither.")
        if self.start is not None and self.start == self.end:
            raise ValueError("from and to are the same; leave both out for the whole day.")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("since has to be before until.")
        if not (self.days or self.start or self.since or self.until):
            raise ValueError("Say when: days, from and to, since or until.")
        return self


class Before(_Part):
    """What went before: more than so many calls that the rule's who and what match, in so many seconds."""

    more_than: int = Field(ge=0, le=1_000_000)
    seconds: int = Field(ge=1, le=86_400)
    of: Literal["tool", "any"] = "tool"
    shared_by: Literal["member", "credential", "tenant"] = "member"


class Change(_Part):
    """One change of arguments: exactly one of set, remove, mask and clamp, which hold the path."""

    set: Path | None = None
    to: Any = _Nothing.NOTHING
    remove: Path | None = None
    mask: Path | None = None
    clamp: Path | None = None
    least: Number | None = None
    most: Number | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(verb is not None for verb in (self.set, self.remove, self.mask, self.clamp)) != 1:
            raise ValueError("Give exactly one of set, remove, mask and clamp.")
        if (self.set is None) is not (self.to is _Nothing.NOTHING):
            raise ValueError("set and to go together: set says where, to says what.")
        if (self.clamp is None) is not (self.least is None and self.most is None):
            raise ValueError("clamp goes with least, most, or both.")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError("least is more than most.")
        if self.remove is not None and isinstance(changes.path(self.remove)[-1], int):
            raise ValueError("remove cannot take one item out of a list, as the others would move up; mask it.")
        return self


class ReviewedBy(_Part):
    """Who may release a call that is held, and for how many minutes it is."""

    roles: Annotated[tuple[_Role, ...], Field(strict=False)] = ()
    groups: _Texts = ()
    minutes: int = Field(default=60, ge=1, le=43_200)

    def value(self) -> Reviewers:
        return Reviewers(roles=frozenset(self.roles), groups=frozenset(self.groups), minutes=self.minutes)


class Spec(_Part):
    """One rule. What it leaves out is anything."""

    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_printable)]
    priority: int = Field(default=100, ge=0, le=1000)
    effect: Annotated[Effect, Field(strict=False)]
    enabled: bool = True
    who: Who = Who()
    what: What = What()
    condition: Annotated[str, AfterValidator(_condition)] | None = Field(default=None, alias="if")
    when: When | None = None
    where: _Networks = ()
    not_where: _Networks = ()
    before: Before | None = None
    found: _Texts = ()
    message: str = Field(default="", max_length=500)
    secret: bool = False
    transform: Annotated[tuple[Change, ...], Field(strict=False, max_length=20)] = ()
    reviewers: ReviewedBy | None = None

    @property
    def tightens(self) -> bool:
        return self.effect in TIGHTENING

    @property
    def depends(self) -> bool:
        """Whether it looks at more than who and what."""
        return bool(self.condition or self.when or self.where or self.not_where or self.before or self.found)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if bool(self.transform) is not (self.effect is Effect.TRANSFORM):
            raise ValueError("transform and the effect transform go together: it says what is changed.")
        if self.reviewers is not None and self.effect is not Effect.REVIEW:
            raise ValueError("reviewers go with the effect review.")
        if self.secret and self.effect is not Effect.DENY:
            raise ValueError("secret goes with the effect deny.")
        if self.secret and self.depends:
            raise ValueError("A tool exists or does not, so a secret rule has nothing but who and what.")
        return self

    def written(self) -> dict[str, Any]:
        """As it is kept and written, without what it leaves out. `read` makes the same of it again."""
        found: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return {"name": self.name, "priority": self.priority, "effect": self.effect.value, **found}


def read(written: Any) -> Spec:
    """A rule from what was written. Raises ValidationError with a sentence for everything that is wrong."""
    try:
        return Spec.model_validate(written)
    except Unfit as problem:
        raise ValidationError(list(problems(problem).values())) from None


def problems(problem: Unfit) -> Mapping[tuple[int | str, ...], str]:
    """A sentence for each thing that is wrong, by its place; the sentence names the place as well."""
    found: dict[tuple[int | str, ...], str] = {}
    for error in problem.errors(include_url=False, include_input=False):
        found.setdefault(error["loc"], _sentence(error["loc"], error["type"], error["msg"]))
    return found


_FIELDS = sorted(
    {
        field.alias or name
        for part in (Spec, Who, What, When, Before, Change, ReviewedBy)
        for name, field in part.model_fields.items()
    }
)


_SAID = {
    "missing": "It is missing.",
    "enum": f"It is not one of {', '.join(Effect)}.",
    "tuple_type": "It has to be a list.",
    "model_type": "It has to be fields with their values, like effect: deny.",
    "bool_type": "It has to be true or false.",
    "int_type": "It has to be a whole number.",
    "string_type": "It has to be text.",
    "timezone_aware": "It has to name its time zone, like 2026-12-01T00:00:00Z.",
}
"""Instead of pydantic's own words, by its names of errors."""


def _sentence(place: tuple[int | str, ...], sort: str, said: str) -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")
    if sort == "extra_forbidden":
        near = get_close_matches(str(place[-1]), _FIELDS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        said = f"There is no such field here.{hint}"
    said = _SAID.get(sort, said)
    said = said.removeprefix("Value error, ").replace("Input should", "It should")
    said = said if said.endswith((".", "?")) else f"{said}."
    return f"{path}: {said}" if path else said
