"""`manage.py replay <tenant>`: what the draft of its rules, or a published version, would have made of the ledger."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from lib import db
from oversight import replay
from oversight.replay import SPANS, WAYS
from oversight.witnesses import WHY
from tenants import queries
from tenants.models import Tenant


class Command(BaseCommand):
    help = "Decide recorded calls again by the draft of a tenant's rules, and say which would go another way."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", help="its slug")
        parser.add_argument("--span", choices=list(SPANS), default="week", help="how far to look back")
        parser.add_argument("--rules", type=int, help="a published version instead of the draft")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant_id = queries.tenant_id_of(options["tenant"])
        if tenant_id is None:
            raise CommandError(f"There is no tenant {options['tenant']!r}.")
        with db.tenant_scope([tenant_id]):
            try:
                found = replay.begin(Tenant.objects.get(pk=tenant_id), options["span"], options["rules"])
            except ValidationError as problem:
                raise CommandError(" ".join(problem.messages)) from None
            while not found.done:
                replay.step(found)
        cut = f", the newest since {found.begins:%Y-%m-%d %H:%M} UTC" if found.cut else ""
        self.stdout.write(f"{found.title}, beside v{found.live_number}: {found.total} calls{cut}.")
        for (way, rule, tool), calls in sorted(
            found.groups.items(), key=lambda one: (list(WAYS).index(one[0][0]), -one[1])
        ):
            self.stdout.write(f"{way}  {calls}  {tool}: {rule}")
        for why, calls in sorted(found.unjudged.items()):
            self.stdout.write(f"{calls} {WHY[why]}")
        self.stdout.write(f"{found.judged - sum(found.ways.values())} go as with the live rules.")
