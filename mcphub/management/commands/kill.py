"""`manage.py kill <sort> <what>`: throw a kill switch, and report until the last of it has stopped."""

import time
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.models import Q, QuerySet

from access.models import Client
from lib import db
from oversight import stopping, switches
from oversight.models import Switch
from oversight.things import Thing
from tenants.models import Tenant, User
from tools.models import Connection, Tool

LONGEST = 120.0
"""Seconds that the command waits for the last call or job at the most."""
_PAUSE = 0.1
_NAMES = {
    "tool": "acme/search_tickets",
    "connection": "acme/helpdesk",
    "client": "its id or name; acme/... for one tenant alone",
    "user": "dana; acme/dana for one tenant alone",
    "tenant": "acme",
    "everything": "nothing",
}


class Command(BaseCommand):
    help = "Switch off a tool, a connection, a client, a user, a tenant or everything, and stop what runs of it."

    def add_arguments(self, parser: CommandParser) -> None:
        told = "; ".join(f"{sort}: {name}" for sort, name in _NAMES.items())
        parser.add_argument("sort", nargs="?", choices=list(_NAMES), help="what sort of thing; none lists what is off")
        parser.add_argument("what", nargs="?", default="", help=told)
        parser.add_argument("--reason", default="", help="kept in the ledger and shown to whoever lifts it")
        parser.add_argument("--lift", action="store_true", help="switch it on again")
        parser.add_argument("--no-wait", action="store_true", help="do not wait until the last of it has stopped")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["sort"] is None:
            with _all_tenants():
                self._list()
            return
        try:
            with _all_tenants():
                thing = _found(options["sort"], options["what"])
                if options["lift"]:
                    return self._lift(thing)
                switch = switches.throw(thing, actor=None, reason=options["reason"])
        except ValidationError as problem:
            raise CommandError(" ".join(problem.messages)) from None
        self.stdout.write(f"{switch} is switched off.")
        if not options["no_wait"]:
            self._wait(switch)
        return None

    def _list(self) -> None:
        found = list(Switch.objects.filter(lifted_at=None).select_related("thrown_by"))
        for switch in found:
            by = switch.thrown_by.username if switch.thrown_by else "the command line"
            told = stopping.progress(switch).told(switch.thrown_at)
            self.stdout.write(f"{switch} · {switch.thrown_at:%Y-%m-%d %H:%M:%S} UTC by {by} · {told}{_because(switch)}")
        if not found:
            self.stdout.write("Nothing is switched off.")

    def _lift(self, thing: Thing) -> None:
        switch = switches.find_open(thing)
        if switch is None:
            raise CommandError(f"No kill switch was thrown for {thing.label}.")
        switches.lift(switch, actor=None)
        self.stdout.write(f"{switch} is on again.")

    def _wait(self, switch: Switch) -> None:
        """Each look in a transaction of its own, so that it sees what has ended meanwhile."""
        until, said = time.monotonic() + LONGEST, ""
        while True:
            with _all_tenants():
                far = stopping.progress(switch)
            if (told := far.told(switch.thrown_at)) != said:
                self.stdout.write(told)
                said = told
            if far.stopped_at is not None:
                return self._threads(far.threads)
            if time.monotonic() > until:
                raise CommandError(f"After {LONGEST:g} s something still runs ({told}). `kill` lists how far it is.")
            time.sleep(_PAUSE)

    def _threads(self, threads: int) -> None:
        if threads:
            self.stdout.write(f"{threads} of it ran in threads, which nothing can stop; they may run on, unheard.")


def _because(switch: Switch) -> str:
    return f" · {switch.reason}" if switch.reason else ""


def _all_tenants() -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT oversight_tenants()")
        return db.tenant_scope(cursor.fetchone()[0])


def _found(sort: str, what: str) -> Thing:
    """The one thing of that name; a CommandError when there is none, or more than one."""
    if sort == "everything":
        if what:
            raise CommandError("Everything has no name; leave it out.")
        return Thing(sort=Switch.Sort.EVERYTHING, row=None, tenant=None)
    tenant, name = _split(sort, what)
    rows = list(_rows(sort, name, tenant)[:2])
    if len(rows) != 1:
        many = "more than one" if rows else "no"
        raise CommandError(f"There is {many} {sort} {what!r}. Name it like this: {_NAMES[sort]}.")
    own = rows[0] if sort == "tenant" else getattr(rows[0], "tenant", None)
    return Thing(sort=Switch.Sort(sort), row=rows[0], tenant=own or tenant)


def _split(sort: str, what: str) -> tuple[Tenant | None, str]:
    """The tenant before the first slash, where it is one's; ids of clients have slashes of their own."""
    slug, slash, name = what.partition("/")
    tenant = Tenant.objects.filter(slug=slug).first() if slash and sort != "tenant" else None
    if tenant is None and sort in ("tool", "connection"):
        raise CommandError(f"Name the {sort} with its tenant, like {_NAMES[sort]}.")
    return (tenant, name) if tenant is not None else (None, what)


def _rows(sort: str, name: str, tenant: Tenant | None) -> QuerySet[Any]:
    match sort:
        case "tool":
            return Tool.objects.filter(Q(live__name=name) | Q(live=None, name=name), tenant=tenant)
        case "connection":
            return Connection.objects.filter(tenant=tenant, name=name)
        case "user":
            return User.objects.filter(username=name)
        case "tenant":
            return Tenant.objects.filter(slug=name)
    within = Q(tenant=tenant) | Q(tenant=None) if tenant is not None else Q()
    named = Client.objects.filter(within, client_id=name)
    return named if named.exists() else Client.objects.filter(within, name=name)
