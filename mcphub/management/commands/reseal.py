"""`manage.py reseal`: stored secrets and what is kept of jobs under the newest key, so that older ones can go."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from audit import changes
from jobs import reseal
from jobs.models import Hook
from lib import db, seal
from mcphub import accounts
from tenants.models import Tenant
from tools.models import Connection

_MOST_NAMED = 20


class Command(BaseCommand):
    help = "Seal all stored secrets, and what is kept of jobs, with the first key of SEAL_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        # The owner sees which tenants there are; each is then worked on as the hub works, in its own scope.
        tenants = list(Tenant.objects.using("owner").values_list("pk", flat=True))
        resealed = [self._factors(), *(self._tenant(pk) for pk in tenants)]
        self.stdout.write(f"{sum(resealed)} secrets are sealed with the first key of SEAL_KEYS.")
        jobs = [self._jobs(pk) for pk in tenants]
        anew = sum(done.sealed for done in jobs)
        self.stdout.write(f"So is all that is kept of jobs: {anew} rows and stored results were under an older one.")
        lost = [one for done in jobs for one in done.lost]
        for one in lost[:_MOST_NAMED]:
            self.stderr.write(f"{one}.")
        if lost:
            raise CommandError(f"{len(lost)} of them were left as they are. Put back the keys they were sealed with.")

    @staticmethod
    def _factors() -> int:
        try:
            return accounts.reseal_factors()
        except seal.SealError as problem:
            raise CommandError(f"The second factor of a user: {problem}. None of them was changed.") from None

    @staticmethod
    def _jobs(tenant_id: int) -> reseal.Done:
        """Beside what runs, in many transactions: what was sealed anew stays so whatever comes of the rest."""
        try:
            done = reseal.reseal(tenant_id)
        except reseal.Busy as problem:
            raise CommandError(f"Of tenant {tenant_id}, {problem}.") from None
        if done.sealed:
            with transaction.atomic(), db.tenant_scope([tenant_id]):
                changes.record(
                    tenant_id=tenant_id,
                    actor="system",
                    verb="resealed the jobs of",
                    subject=Tenant.objects.get(pk=tenant_id),
                    note=f"{done.sealed} rows and stored results",
                )
        return done

    @staticmethod
    def _tenant(tenant_id: int) -> int:
        with transaction.atomic(), db.tenant_scope([tenant_id]):
            connections = Connection.objects.select_for_update().filter(tenant_id=tenant_id, secret__isnull=False)
            holders: list[Connection | Hook] = [
                *connections,
                *Hook.objects.select_for_update().filter(tenant_id=tenant_id),
            ]
            for holder in holders:
                try:
                    holder.secret = seal.reseal(holder.secret or b"")
                except seal.SealError as problem:
                    raise CommandError(
                        f"{type(holder).__name__} {str(holder)!r}: {problem}. Nothing of its tenant was changed."
                    ) from None
                holder.save(update_fields=["secret"])
                changes.record(tenant_id=tenant_id, actor="system", verb="resealed the secret of", subject=holder)
            return len(holders)
