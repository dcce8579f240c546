"""A held call as its reviewer reads it: what will happen in a sentence, what speaks for a second look, what differs
from the last one that was approved.

All of it was written by models, or by whoever a model read. So what nobody would see in it is shown by its number. What
its tool describes as a secret is not shown; a model cannot hide anything by what it names it.
"""

import datetime
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Func, IntegerField, Q, QuerySet
from django.utils import timezone

from jobs import hidden, ran
from jobs.approvals import is_offered, leads_there
from jobs.models import Approval
from jobs.sealed import unseal_arguments
from lib.detect import disguise
from lib.html import MOST_SHOWN, pretty
from lib.seal import SealError
from tools.models import Version

LATELY = datetime.timedelta(days=7)
"""How long a change of a tool is worth a note."""
_COMPARED = 50
"""Approved calls of the same tool that amounts are compared with."""
_MOST_COMPARED = 64 * 1024
"""Bytes, sealed, of a call that is compared with at all: fifty of them are opened for each page."""
_MOST_VALUE = 60
_MOST_SHOWN = 300
_MOST_NAMED = 4
_MOST_CHANGES = 40
_DEEPEST = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Risk:
    """Something that speaks for a second look. grave: the kind that harms."""

    says: str
    grave: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One argument that differs from the last approved call. before, after: None where it was not there."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Earlier:
    """The last approved call of the same tool that this one is compared with. own: of the same caller."""

    username: str
    decided_at: datetime.datetime | None
    own: bool
    changes: list[Change]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unheld:
    """The caller's last call of the same tool, where it ran by itself. changes: by what the ledger keeps of the
    arguments; None where that is not for this reader, or nothing is left of them."""

    at: datetime.datetime
    changes: list[Change] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Brief:
    """All that a reviewer needs. arguments: None when no key opens them. length: characters that they take. untold:
    whether something was approved earlier, and nothing of it that this reader can be shown. unheld: None where the
    caller's last call was approved too, or there is none."""

    sentence: str
    arguments: Any
    length: int
    risks: list[Risk]
    earlier: Earlier | None = None
    untold: bool = False
    unheld: Unheld | None = None


def brief_of(approval: Approval, known: Q, *, reads: bool) -> Brief:
    """For somebody who may decide, or has to know as much: it has the arguments. known: of which other approvals they
    may know them too. reads: whether they read the ledger."""
    version, arguments = approval.job.version, opened(approval)
    if arguments is None:
        risks = [Risk(says="Its arguments cannot be opened; it cannot be approved.", grave=True)]
        return Brief(sentence=sentence(version), arguments=None, length=0, risks=risks)
    secret = hidden.from_others(version.input_schema)
    shown = hidden.without(arguments, secret)
    drawn = marked(shown)
    before = _approved_before(approval)
    alike, last = _opened(before.filter(known), secret), ran.last(approval)
    return Brief(
        sentence=sentence(version, shown),
        arguments=drawn,
        length=len(pretty(drawn)),
        risks=_risks(approval, shown, [one for _, one in alike], used=last is not None),
        earlier=_earlier(approval, shown, alike),
        untold=not alike and before.exists(),
        unheld=_unheld(last, arguments, secret, reads=reads),
    )


def fits_a_page(arguments: Mapping[str, Any], schema: Any) -> bool:
    """Whether the page of its approval can show all of a call; nobody approves what they cannot see."""
    shown = hidden.without(arguments, hidden.from_others(schema))
    return len(pretty(shown)) <= MOST_SHOWN and len(pretty(marked(shown))) <= MOST_SHOWN


def sentence(version: Version, arguments: Mapping[str, Any] | None = None) -> str:
    """What will happen, by the tool's title and its arguments. Without arguments it names no value."""
    name = " ".join(str(version.title or version.name.replace("_", " ")).split())
    name = name[:1].upper() + name[1:]
    known = _known(version)
    if arguments is None:
        return f"{line(name)}."
    parts = [f"{one} {_value(arguments[one])}" for one in known if one in arguments]
    parts += [f"{line(one)} {_value(arguments[one])}" for one in arguments if one not in known]
    if not parts:
        return f"{line(name)}, without arguments."
    more = len(parts) - _MOST_NAMED
    told = parts[:_MOST_NAMED] + ([f"{more} more"] if more > 0 else [])
    return f"{line(name)} with {_listed(told)}."


def opened(approval: Approval) -> dict[str, Any] | None:
    """The arguments that were held; None when no key opens them."""
    try:
        return unseal_arguments(approval.arguments)
    except SealError:
        return None


def marked(value: Any) -> Any:
    """The same with every character that nobody sees shown by its number, in names too."""
    if isinstance(value, str):
        return disguise.marked(value)
    if isinstance(value, Mapping):
        found: dict[str, Any] = {}
        alike: dict[str, int] = {}
        for name, one in value.items():
            plain = shown = disguise.marked(name)
            while shown in found:  # two names must not become one, or what is under the first would not be seen
                alike[plain] = alike.get(plain, 1) + 1
                shown = f"{plain} [{alike[plain]}]"
            found[shown] = marked(one)
        return found
    return [marked(one) for one in value] if isinstance(value, list) else value


def differences(before: Any, after: Any) -> list[Change]:
    """Every argument that differs, by its path."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    paths = [path for path in {**old, **new} if old.get(path, old) != new.get(path, new)]
    return [
        Change(
            path=line(path) or "all of it",
            before=_short(old[path]) if path in old else None,
            after=_short(new[path]) if path in new else None,
        )
        for path in paths[:_MOST_CHANGES]
    ]


def amounts(value: Any) -> dict[str, float]:
    """The largest number under each path; places in lists make no difference."""
    found: dict[str, float] = {}
    for path, leaf in _leaves(value):
        if isinstance(leaf, int | float) and not isinstance(leaf, bool):
            plain = "[]".join(part.partition("]")[2] if place else part for place, part in enumerate(path.split("[")))
            found[plain] = max(leaf, found.get(plain, leaf))
    return found


def _risks(approval: Approval, shown: Any, before: list[Any], *, used: bool) -> list[Risk]:
    """used: whether the caller used the tool lately."""
    version = approval.job.version
    found: list[Risk] = []
    if not is_offered(approval):
        says = "The tool was published anew or taken away since: approving it withdraws it."
        found.append(Risk(says=says, grave=True))
    elif not leads_there(approval):
        found.append(Risk(says="The tool leads elsewhere since: approving it withdraws it.", grave=True))
    if version.destructive and not version.read_only:
        found.append(Risk(says="It can change or delete what is there.", grave=True))
    if version.open_world:
        found.append(Risk(says="It reaches systems outside, with whoever is there."))
    if approval.found:
        found.append(Risk(says=f"Inspection found in its input: {', '.join(approval.found)}.", grave=True))
    if marked(shown) != shown:
        says = "Its arguments hold characters that nobody sees; they are shown by their numbers, like [U+200B]."
        found.append(Risk(says=says, grave=True))
    found += _larger(amounts(shown), [amounts(one) for one in before])
    if not used:
        found.append(Risk(says="The caller has not used this tool lately, if ever."))
    if version.number > 1 and version.published_at > timezone.now() - LATELY:
        found.append(Risk(says=f"The tool was changed lately: it is at version {version.number}."))
    return found


def _larger(now: Mapping[str, float], before: list[dict[str, float]]) -> list[Risk]:
    """Numbers above all that were approved before; nothing is said where none was."""
    found = []
    for path, value in now.items():
        earlier = [one[path] for one in before if path in one]
        if earlier and value > max(earlier):
            says = f"{line(path)} is {value:g}; the most that was approved so far is {max(earlier):g}."
            found.append(Risk(says=says, grave=True))
    return found[:_MOST_NAMED]


def _approved_before(approval: Approval) -> QuerySet[Approval]:
    """Calls of the same tool that were approved, the latest first."""
    rows = Approval.objects.filter(tenant_id=approval.tenant_id, tool=approval.tool, state=Approval.State.APPROVED)
    return (
        rows.exclude(pk=approval.pk)
        .order_by("-decided_at")
        .select_related("member__user", "job__version")
        .defer("job__arguments", "job__result")
    )


def _opened(rows: QuerySet[Approval], secret: frozenset[str]) -> list[tuple[Approval, Any]]:
    """The latest of them that can be opened, without what is a secret now or was one when they were called."""
    size = Func(F("arguments"), function="octet_length", output_field=IntegerField())
    kept = rows.annotate(size=size).filter(size__lte=_MOST_COMPARED)[:_COMPARED]
    found = ((one, opened(one), hidden.from_others(one.job.version.input_schema)) for one in kept)
    return [(one, hidden.without(given, secret | then)) for one, given, then in found if given is not None]


def _earlier(approval: Approval, shown: Any, alike: list[tuple[Approval, Any]]) -> Earlier | None:
    """The caller's own latest before anybody else's."""
    if not alike:
        return None
    one, before = next((pair for pair in alike if pair[0].member_id == approval.member_id), alike[0])
    return Earlier(
        username=one.member.user.username,
        decided_at=one.decided_at,
        own=one.member_id == approval.member_id,
        changes=differences(before, shown),
    )


def _unheld(last: ran.Ran | None, arguments: Any, secret: frozenset[str], *, reads: bool) -> Unheld | None:
    """Both as the ledger keeps arguments, or what it leaves out would look changed."""
    if last is None or last.held:
        return None
    kept, now = last.preview, ran.as_kept(arguments, secret)
    if not reads or not ran.is_whole(kept) or not ran.is_whole(now):
        return Unheld(at=last.at, changes=None)
    return Unheld(at=last.at, changes=differences(hidden.without(kept, secret), hidden.without(now, secret)))


def _known(version: Version) -> list[str]:
    """The arguments that the tool describes, the required ones first; others are the model's invention."""
    schema = version.input_schema if isinstance(version.input_schema, dict) else {}
    described = schema.get("properties")
    names = list(described) if isinstance(described, dict) else []
    required = schema.get("required") or []
    return sorted(names, key=lambda name: name not in required)


def _leaves(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value and depth < _DEEPEST:
        for name, one in value.items():
            yield from _leaves(one, f"{path}.{name}" if path else str(name), depth + 1)
    elif isinstance(value, list) and value and depth < _DEEPEST:
        for place, one in enumerate(value):
            yield from _leaves(one, f"{path}[{place}]", depth + 1)
    else:
        yield path, value


def _value(value: Any) -> str:
    if isinstance(value, str):
        return hidden.HIDDEN if value == hidden.HIDDEN else f"“{line(value)}”"
    if isinstance(value, list):
        return f"{len(value)} item{'' if len(value) == 1 else 's'}"
    if isinstance(value, Mapping):
        return f"{len(value)} field{'' if len(value) == 1 else 's'}"
    return line(json.dumps(value))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return disguise.marked(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…")


def line(text: str) -> str:
    """On one line, with its middle left out where it is too long, so that its end cannot hide."""
    line = " ".join(text[: 4 * _MOST_SHOWN].split())
    if len(line) > _MOST_VALUE:
        line = f"{line[: _MOST_VALUE * 2 // 3]} … {line[-_MOST_VALUE // 4 :]}"
    return disguise.marked(line)


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
