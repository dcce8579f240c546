"""Writing rules, as verbs. Each is one transaction with its ledger entry."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from django.core.exceptions import ValidationError
from django.db import transaction

from audit import changes
from policy.models import Draft, Rule, Ruleset
from policy.rules import Spec, from_yaml, in_order, read
from policy.rules.matching import binding
from policy.rules.pins import pinned
from policy.values import Subject
from tenants import actions as tenant_actions
from tenants.models import Tenant, User

_COLUMNS = ("name", "priority", "effect", "enabled")


class DraftChanged(ValidationError):
    """The draft is no longer the one that was reviewed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Replaced:
    """What replacing a draft did, by the names of rules."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


def spec_of(rule: Rule) -> Spec:
    """A row as a whole rule. Raises ValidationError with a sentence for everything that is wrong."""
    whole = {**rule.spec, "name": rule.name, "priority": rule.priority, "effect": rule.effect, "enabled": rule.enabled}
    return read(whole)


def fill(rule: Rule, spec: Spec) -> Rule:
    """The row, holding the rule."""
    written = spec.written()
    rule.name, rule.priority, rule.effect, rule.enabled = spec.name, spec.priority, spec.effect.value, spec.enabled
    rule.spec = {name: value for name, value in written.items() if name not in _COLUMNS}
    return rule


def draft_of(tenant: Tenant) -> list[Spec]:
    """The draft, in the order in which rules are asked. Raises ValidationError naming each rule that is wrong."""
    wrong: list[str] = []
    rules: list[Spec] = []
    for row in Rule.objects.filter(tenant=tenant):
        try:
            rules.append(spec_of(row))
        except ValidationError as problem:
            wrong += [f"{row.name}: {said}" for said in problem.messages]
    if wrong:
        raise ValidationError(wrong)
    return in_order(rules)


def digest(rules: Iterable[Spec]) -> str:
    """Of everything that publishing these rules would freeze; their order does not matter."""
    written = [rule.written() for rule in in_order(rules)]
    return hashlib.sha256(orjson.dumps(written, option=orjson.OPT_SORT_KEYS)).hexdigest()


@transaction.atomic
def save_rule(rule: Rule, *, actor: User) -> bool:
    """Store a rule of the draft, new or changed; False when nothing differs. Raises ValidationError."""
    fill(rule, spec_of(rule))
    rule.full_clean()
    draft = lock_draft(rule.tenant_id)
    saved = tenant_actions.save(rule, actor=actor.username)
    if saved:
        _wrote(draft, actor)
    return saved


@transaction.atomic
def remove_rule(rule: Rule, *, actor: User) -> None:
    """Take a rule out of the draft. What is published stays until the draft is."""
    draft = lock_draft(rule.tenant_id)
    tenant_actions.remove(rule, actor=actor.username)
    _wrote(draft, actor)


@transaction.atomic
def replace_draft(tenant: Tenant, yaml_text: str, *, actor: User) -> Replaced:
    """Make the draft what is written here: all of it, or nothing when anything is wrong (ValidationError).

    A rule that keeps its name is the same rule, changed.
    """
    rules = {spec.name: spec for spec in from_yaml(yaml_text)}
    draft = lock_draft(tenant.pk)
    kept = {row.name: row for row in Rule.objects.filter(tenant=tenant)}
    removed = sorted(kept.keys() - rules.keys())
    for name in removed:
        tenant_actions.remove(kept[name], actor=actor.username)
    saved = {
        name
        for name, spec in rules.items()
        if tenant_actions.save(fill(kept.get(name) or Rule(tenant=tenant), spec), actor=actor.username)
    }
    if saved or removed:
        _wrote(draft, actor)
    return Replaced(
        added=tuple(sorted(saved - kept.keys())), changed=tuple(sorted(saved & kept.keys())), removed=tuple(removed)
    )


@transaction.atomic
def publish(
    tenant: Tenant, *, actor: User, note: str = "", tools: Iterable[Subject], reviewed: str | None = None
) -> Ruleset:
    """Make the draft the rules that decide, from the next request on.

    tools: every live one; the hashes are kept of those that a rule is bound to. reviewed: the `digest` of what
    somebody agreed to; raises DraftChanged when the draft is another one by now. Raises ValidationError when a rule is
    wrong, or when the tenant asks for a second person and the actor wrote at the draft.
    """
    draft = lock_draft(tenant.pk)
    rules = draft_of(tenant)
    if reviewed is not None and reviewed != digest(rules):
        raise DraftChanged("The draft changed after this page was shown. Look again at what will be published.")
    if two_publish(tenant) and actor.pk in draft.writers:
        raise ValidationError(f"You wrote at this draft, and {tenant.name} asks for a second person to publish it.")
    bound = pinned(rules, tools)
    if two_publish(tenant) and not draft.writers:
        _check_not_bound_anew(tenant, bound)
    published = _published(tenant, [rule.written() for rule in rules], bound, actor=actor, note=note, verb="published")
    draft.writers = []
    draft.save()
    return published


@transaction.atomic
def publish_beside(tenant: Tenant, added: Spec, *, actor: User, note: str = "", tools: Sequence[Subject]) -> Ruleset:
    """Make the live rules and one more decide. The draft gets it too; what else was written at it stays unpublished.

    Raises ValidationError where the tenant asks for a second person, and when another live rule is bound to a tool that
    has changed since: it would hold again.
    """
    lock_draft(tenant.pk)
    if two_publish(tenant):
        raise ValidationError(f"{tenant.name} asks for a second person: the rule has to go through the draft.")
    live = Ruleset.objects.filter(tenant=tenant).order_by("-number").first()
    bound = pinned([added], tools)
    if live is not None:
        for tool in tools:
            if tool.name in bound:
                _check_not_revived(live, tool)
    rules = [*(live.rules if live else []), added.written()]
    kept = {**(live.pins if live else {}), **bound}
    published = _published(tenant, rules, kept, actor=actor, note=note, verb="published")
    tenant_actions.save(fill(Rule(tenant=tenant), added), actor=actor.username)
    return published


def two_publish(tenant: Tenant) -> bool:
    """Whether the tenant asks for a second person, now."""
    return Tenant.objects.filter(pk=tenant.pk, second_publisher=True).exists()


def _check_not_bound_anew(tenant: Tenant, bound: Mapping[str, str]) -> None:
    """What is live and is published once more holds for tools as they are by now, which nobody else has looked at."""
    live = Ruleset.objects.filter(tenant=tenant).order_by("-number").first()
    changed = sorted(name for name, pin in bound.items() if live is not None and live.pins.get(name) != pin)
    if changed:
        raise ValidationError(
            f"Nobody wrote at the draft, and publishing it would let rules hold for {', '.join(changed)} as changed "
            f"since. {tenant.name} asks for a second person: one has to write at the draft, and another to publish it."
        )


def _check_not_revived(live: Ruleset, tool: Subject) -> None:
    """A pin is of all rules of a version, so that a new one would hold for the others as well."""
    if live.pins.get(tool.name) == tool.pin:
        return
    for rule in map(read, live.rules):
        if rule.enabled and binding(rule)(tool):
            raise ValidationError(
                f"{tool.name} has changed since the live rule {rule.name!r} was published, which would hold for it "
                "again. Look at the rules and publish them first."
            )


@transaction.atomic
def roll_back(tenant: Tenant, number: int, *, actor: User) -> Ruleset:
    """Make an earlier version decide again, under a new number, for the tools as they were then. The draft stays.

    Raises ValidationError where the tenant asks for a second person: nobody else looked at what comes back.
    """
    lock_draft(tenant.pk)
    if two_publish(tenant):
        raise ValidationError(
            f"{tenant.name} asks for a second person: write what v{number} says into the draft, and have somebody else "
            "publish it."
        )
    earlier = Ruleset.objects.filter(tenant=tenant, number=number).first()
    if earlier is None:
        raise ValidationError(f"{tenant.name} has no rules v{number}.")
    note = f"v{number} again"
    return _published(tenant, earlier.rules, earlier.pins, actor=actor, note=note, verb="rolled back")


def _published(
    tenant: Tenant, rules: list[dict[str, Any]], pins: Mapping[str, str], *, actor: User, note: str, verb: str
) -> Ruleset:
    before = Ruleset.objects.filter(tenant=tenant).order_by("-number").first()
    made = Ruleset(
        tenant=tenant,
        number=before.number + 1 if before else 1,
        rules=rules,
        pins=dict(pins),
        note=note,
        published_by=actor,
    )
    made.full_clean()
    made.save()
    changes.record(
        tenant_id=tenant.pk,
        actor=actor.username,
        verb=verb,
        subject=made,
        before=_told(before) if before else None,
        after=_told(made),
        note=note,
    )
    return made


def _told(ruleset: Ruleset) -> dict[str, Any]:
    """For the ledger: each rule under its name, so that the entry shows which differ."""
    return {"number": ruleset.number, "pins": ruleset.pins, **{rule["name"]: rule for rule in ruleset.rules}}


def lock_draft(tenant_id: int) -> Draft:
    """Whoever writes at a draft, or publishes it, does so alone."""
    Draft.objects.bulk_create([Draft(tenant_id=tenant_id)], ignore_conflicts=True)
    return Draft.objects.select_for_update().get(tenant_id=tenant_id)


def _wrote(draft: Draft, actor: User) -> None:
    """A draft that is what is live again holds nothing of anybody's."""
    writers = [] if _is_live(draft.tenant) else sorted({*draft.writers, actor.pk})
    if writers != draft.writers:
        draft.writers = writers
        draft.save()


def _is_live(tenant: Tenant) -> bool:
    live = Ruleset.objects.filter(tenant=tenant).order_by("-number").first()
    try:
        return digest(draft_of(tenant)) == digest(map(read, live.rules if live else []))
    except ValidationError:
        return False
