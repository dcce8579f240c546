"""Throwing kill switches and lifting them: each one transaction with its ledger entries, heard by every process.

The thing is switched off where it lives (`oversight.things`), so that nothing but that is authority: the next request
on any worker sees it. What already runs hears of it by the notification (`oversight.watching`), jobs by their rows.
"""

import datetime

import orjson
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils import timezone

from audit import changes
from lib import events
from oversight import things
from oversight.models import Switch
from oversight.things import Thing
from tenants.actions import PLATFORM
from tenants.models import User
from tenants.queries import PRIVILEGED
from tenants.standing import Standing

Sort = Switch.Sort
JOBS_AT_ONCE = 5000
"""How many `jobs_kill` cancels in one statement."""
COMMAND = "cli"
"""Who acts, in the ledger, for the command line."""


@transaction.atomic
def throw(thing: Thing, *, actor: User | None, reason: str = "") -> Switch:
    """Switch it off, cancel its jobs, and have every process stop what it runs of it.

    Runs in the scope of the tenants it may touch. What was off before is stopped once more, and keeps its reason where
    none is given. actor: None for the command line. Raises ValidationError for the last owner, and the last of the
    platform staff.
    """
    name = _name(actor)
    thing.switch_off(name)
    switch = find_open(thing, lock=True) or Switch(tenant=thing.tenant, sort=thing.sort, target=thing.target)
    switch.label, switch.reason, switch.thrown_by = thing.label, reason[:500] or switch.reason, actor
    switch.thrown_at, switch.stopped_at = _now(), None
    switch.save()
    cancelled = _cancel_jobs(thing, name)
    _record(thing, "killed", name, f"{reason} ({cancelled} jobs cancelled)".strip())
    _tell(thing)
    return switch


@transaction.atomic
def explain(switch: Switch, reason: str, *, actor: User) -> None:
    """Say why it was thrown, afterwards: nobody writes a reason first in an emergency. The last word stands."""
    switch.reason = reason[:500]
    switch.save(update_fields=["reason"])
    thing = thing_of(switch)
    if thing is not None:
        _record(thing, "explained", _name(actor), switch.reason)


@transaction.atomic
def lift(switch: Switch, *, actor: User | None) -> bool:
    """Switch it on again; False when somebody had. Raises ValidationError when the thing is gone."""
    held = Switch.objects.select_for_update().get(pk=switch.pk)
    if held.lifted_at is not None:
        return False
    thing = thing_of(held)
    if thing is None:
        raise ValidationError(f"{held.label} is gone; there is nothing to switch on.")
    thing.switch_on(_name(actor))
    held.lifted_at, held.lifted_by = timezone.now(), actor
    held.save(update_fields=["lifted_at", "lifted_by"])
    _record(thing, "lifted", _name(actor), "")
    _tell(thing)
    return True


def thing_of(switch: Switch) -> Thing | None:
    """What the switch is of; None when it is gone."""
    return things.find(switch.sort, switch.target, switch.tenant)


def may_throw(standing: Standing, thing: Thing) -> bool:
    """Whether somebody may switch this off, and on again: as far as they may without a kill switch."""
    if thing.tenant is None:
        return standing.staff
    if thing.sort == Sort.TENANT:
        return standing.owns(thing.tenant.pk)
    if thing.tenant.pk not in standing.managed:
        return False
    return thing.sort != Sort.USER or standing.owns(thing.tenant.pk) or not _privileged(thing)


def _privileged(thing: Thing) -> bool:
    row = thing.row
    assert isinstance(row, User)  # noqa: S101 - a user's switch
    return row.memberships.filter(tenant=thing.tenant, role__in=PRIVILEGED).exists()


def _name(actor: User | None) -> str:
    return actor.username if actor is not None else COMMAND


def find_open(thing: Thing, *, lock: bool = False) -> Switch | None:
    """Its switch, where it was thrown and not lifted."""
    found = Switch.objects.filter(sort=thing.sort, target=thing.target, tenant=thing.tenant, lifted_at=None)
    return (found.select_for_update() if lock else found).first()


def _now() -> datetime.datetime:
    """The database's clock, which entries go by."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]  # type: ignore[no-any-return]


def _cancel_jobs(thing: Thing, by: str) -> int:
    """How many there were. A batch after the other, each a statement with its own time."""
    asked = [thing.sort, thing.target or None, thing.tenant.pk if thing.tenant is not None else None, by]
    cancelled = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT jobs_kill(%s, %s, %s, %s)", asked)
            batch = int(cursor.fetchone()[0])
            cancelled += batch
            if batch < JOBS_AT_ONCE:
                return cancelled


def _record(thing: Thing, verb: str, actor: str, note: str) -> None:
    """In the ledger of every tenant that it touches; what is no single tenant's in the platform's as well."""
    concerned = thing.tenants() if thing.tenant is not None else [PLATFORM, *thing.tenants()]
    for tenant_id in concerned:
        changes.record(tenant_id=tenant_id, actor=actor, verb=verb, subject=thing.subject, note=note)


def _tell(thing: Thing) -> None:
    """Heard when this commits."""
    news = {"t": thing.tenant.pk if thing.tenant else events.EVERY_TENANT, "e": "kill", "s": thing.sort.value}
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [events.CHANNEL, orjson.dumps(news).decode()])
