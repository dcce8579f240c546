"""`manage.py reseal`: every sealed secret under the newest key, so that older keys can be dropped from SEAL_KEYS."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from audit import changes
from jobs.models import Hook
from lib import db, seal
from tenants.models import Tenant
from tools.models import Connection


class Command(BaseCommand):
    help = "Seal the secrets of connections and hooks anew with the first key of SEAL_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        # The owner sees which tenants there are; each is then worked on as the hub works, in its own scope.
        resealed = [self._tenant(pk) for pk in Tenant.objects.using("owner").values_list("pk", flat=True)]
        self.stdout.write(f"{sum(resealed)} secrets are sealed with the first key of SEAL_KEYS.")

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
