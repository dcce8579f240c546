"""Effective access: what a member gets to see by one of their hosts, and why each other tool is absent or refused.

By the very functions that the endpoint asks: the catalog, the standing of a credential, `policy.decide`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from asgiref.sync import async_to_sync
from django.utils import timezone

from access.callers import caller_of
from access.models import APIKey, Client, Consent, OutsideIssuer
from access.standing import standing
from jobs import own_tools
from lib import db
from oversight.drafts import readable
from oversight.rejudging import EVERY, Judge, Recorded
from policy.decide import decide, lacks, visible
from policy.rules import Rules, Spec
from policy.rules.matching import Matcher
from policy.values import Decision, Effect, Facts
from tenants.caller import Caller
from tenants.models import Member, Tenant
from tools import inspection, pins
from tools.catalog import Catalog, LiveTool, catalog
from tools.manifest import is_led_elsewhere
from tools.models import Tool

SIGNED_IN: Final = "app:0"
"""Stands for a host that the member signed in with, and let do everything that their role may."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One way in which a member's hosts come. credential: as `Caller.credential`."""

    credential: str
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """What there is for a member by one way. caller: None when that opens nothing at all. specs: the live
    rules as they are written, with their pins. judge: by them."""

    member: Member
    caller: Caller | None
    live: Catalog
    judge: Judge
    specs: Sequence[tuple[Spec, Mapping[str, str]]] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One tool. listed: whether tools/list shows it. word, says: what becomes of a call of it, or why it is absent.
    rule: the name of what decides. depends: rules that may decide otherwise, for what a call brings."""

    name: str
    listed: bool
    word: str
    says: str
    rule: str = ""
    depends: Sequence[str] = ()


def ways(member: Member) -> list[Way]:
    """How the member can be there now: signed in, by an app they let in, a key, a machine that acts as them; by a token
    of the outside issuer, where there is one, as the hub lets nobody sign in with an app then."""
    issuer = OutsideIssuer.objects.filter(tenant_id=member.tenant_id, enabled=True).first()
    if issuer is not None:
        label = f"Any token of {issuer.issuer} that lets them do everything"
        found = [Way(credential=f"outside:{member.pk}", label=label)]
    else:
        found = [Way(credential=SIGNED_IN, label="Any app they sign in with, and let do everything")]
    consents = Consent.objects.filter(tenant_id=member.tenant_id, member=member, revoked_at=None)
    for one in consents.select_related("client"):
        if one.live:
            found.append(Way(credential=f"app:{one.pk}", label=f"App: {one.client.name}"))
    for key in APIKey.objects.filter(tenant_id=member.tenant_id, member=member, revoked_at=None):
        if key.state == "active":
            found.append(Way(credential=f"key:{key.pk}", label=f"Key: {key.name} ({key.prefix}…)"))
    for machine in Client.objects.filter(tenant_id=member.tenant_id, member=member, blocked_at=None):
        found.append(Way(credential=f"client:{machine.pk}", label=f"Machine: {machine.name}"))
    return found


def access(member: Member, credential: str, ruleset: Mapping[str, Any] | None) -> Access:
    """What there is for them. ruleset: the columns of the live one. Runs in a scope of the tenant."""
    version = Tenant.objects.values_list("catalog_version", flat=True).get(pk=member.tenant_id)
    live, caller = async_to_sync(_read)(member.tenant_id, version, member.pk, _asked(credential))
    if caller is not None and credential == SIGNED_IN:
        caller = caller_of(member, credential=SIGNED_IN, client="")
    known = [readable(rule) for rule in ruleset["rules"]] if ruleset else []
    specs = [(spec, ruleset["pins"]) for spec in known if spec is not None] if ruleset else []
    judge = Judge([spec for spec, _ in specs], ruleset["pins"] if ruleset else {}, number=live.rules.number)
    return Access(member=member, caller=caller, live=live, judge=judge, specs=specs)


def _asked(credential: str) -> str:
    """Whether the member may act at all is asked for those who come by no credential of their own as for an admin."""
    return "admin" if credential == SIGNED_IN else credential


async def _read(tenant_id: int, version: int, member_id: int, credential: str) -> tuple[Catalog, Caller | None]:
    async with _pool():
        return await catalog(tenant_id, version), await standing(tenant_id, member_id, credential)


@asynccontextmanager
async def _pool() -> AsyncIterator[None]:
    """What reading needs of its event loop: the web server holds it open; `runserver` and commands get it for this."""
    try:
        db.pool()
    except RuntimeError:
        async with db.open_pool(size=2):
            yield
    else:
        yield


def lines(found: Access) -> list[Line]:
    """Every tool of the tenant, and the hub's own that are listed, by name."""
    tenant = found.member.tenant_id
    tools = Tool.objects.filter(tenant_id=tenant).select_related("live__connection", "connection")
    told = [_line(found, tool) for tool in tools]
    own = own_tools.offered(found.live, found.caller) if found.caller is not None else []
    says = "The hub's own: it follows jobs, and no rule is asked about it."
    told += [Line(name=str(one["name"]), listed=True, word="runs", says=says) for one in own]
    return sorted(told, key=lambda line: line.name)


def _line(found: Access, tool: Tool) -> Line:
    name = tool.live.name if tool.live is not None else tool.name
    running = found.live.tools.get(name)
    if running is None:
        return Line(name=name, listed=False, word="absent", says=_why_not_live(tool))
    if found.caller is None:
        return Line(name=name, listed=False, word="absent", says="Nothing is offered this way: it opens nothing now.")
    if not shows(found, running):
        return _absent(found, found.caller, running)
    return _called(found, found.caller, running)


def shows(found: Access, tool: LiveTool) -> bool:
    """Whether the tool is there for them."""
    return found.caller is not None and visible(found.caller, tool.subject, found.live.rules)


def _why_not_live(tool: Tool) -> str:
    version = tool.live
    if version is None:
        return "It was never published."
    if not tool.enabled:
        return "It is switched off."
    connection = version.connection
    if connection is not None and not connection.enabled:
        return f"Its connection {connection.name} is switched off."
    if is_led_elsewhere(version):
        name = connection.name if connection is not None else "(none)"
        return f"Its connection {name} leads elsewhere than when it was published. Look at it and publish it again."
    return "It cannot be offered as it was published; the hub's log says why."


def _absent(found: Access, caller: Caller, tool: LiveTool) -> Line:
    beyond = tool.subject.scopes - caller.reach
    if beyond:
        scopes = ", ".join(sorted(beyond))
        says = f"The role {caller.role} cannot hold {scopes}."
        return Line(name=tool.name, listed=False, word="absent", says=says)
    rule = hiding(found, caller, tool)
    return Line(name=tool.name, listed=False, word="hidden", says="A rule makes a secret of it.", rule=rule)


def hiding(found: Access, caller: Caller, tool: LiveTool) -> str:
    """The name of the rule that makes a secret of the tool."""
    secret = [spec for spec, bound in found.specs if spec.secret and _applies(spec, bound, caller, tool)]
    return max(secret, key=lambda spec: spec.priority).name if secret else ""


def _applies(spec: Spec, bound: Mapping[str, str], caller: Caller, tool: LiveTool) -> bool:
    return spec.enabled and not Matcher(spec, bound).lacks(caller, tool.subject)


_WORDS: Final[Mapping[Effect | None, tuple[str, str]]] = {
    Effect.ALLOW: ("runs", "A call runs."),
    Effect.WARN: ("runs, marked", "A call runs, and its entry is marked."),
    Effect.CONFIRM: ("asks", "The person is asked before a call runs."),
    Effect.REVIEW: ("waits", "A call waits until a second person has approved it."),
    Effect.DENY: ("refused", "A call is refused."),
    None: ("depends", "What becomes of a call depends on its arguments."),
}


def _called(found: Access, caller: Caller, tool: LiveTool) -> Line:
    """A listed tool, and what becomes of a call now, whatever its arguments are."""
    if lacking := lacks(caller, tool.subject):
        missing = ", ".join(sorted(tool.subject.scopes - caller.scopes))
        says = f"Listed, and a call is refused with 403: the credential lacks {missing}."
        return Line(name=tool.name, listed=True, word=lacking.reason.replace("_", " "), says=says)
    given = facts(found, tool, {})
    verdict = found.judge.judge(Recorded(caller=caller, subject=tool.subject, facts=given, lost=EVERY), {})
    word, says = _WORDS[verdict.effect]
    if verdict.effect is Effect.CONFIRM and not verdict.rule:
        says = given.gained or "The person is asked before a call runs, as it is destructive and no rule decides."
    return Line(
        name=tool.name,
        listed=True,
        word=word,
        says=says,
        rule=verdict.rule,
        depends=_depending(found, caller, tool, verdict.rule, decided=verdict.effect is not None),
    )


def _depending(found: Access, caller: Caller, tool: LiveTool, rule: str, *, decided: bool) -> list[str]:
    """Other rules that look at what a call brings, and are asked no later than the one that decides."""
    fit = [spec for spec, bound in found.specs if _applies(spec, bound, caller, tool)]
    least = next((spec.priority for spec in fit if spec.name == rule and decided), -1)
    return [spec.name for spec in fit if spec.depends and spec.priority >= least and spec.name != rule]


def decided(found: Access, tool: LiveTool, given: Facts) -> Decision:
    """What becomes of a call. There is a caller."""
    assert found.caller is not None  # noqa: S101 - asked by who looked
    return decide(found.caller, tool.subject, given, found.live.rules)


def facts(found: Access, tool: LiveTool, arguments: Mapping[str, Any], *, address: str = "") -> Facts:
    """What is known of a call with these arguments that would come now, as if none had come before it."""
    assert found.caller is not None  # noqa: S101 - asked by who looked
    return Facts(
        arguments=arguments,
        at=timezone.now(),
        address=address,
        found=inspection.found(tool, arguments),
        gained=pins.gained(found.caller, tool),
    )


def explained(found: Access, tool: LiveTool, given: Facts) -> list[tuple[str, str]]:
    """Every rule in the order in which they are asked, with what comes of it."""
    assert found.caller is not None  # noqa: S101 - asked by who looked
    rules: Rules = found.live.rules
    return rules.explain(found.caller, tool.subject, given)
