"""`manage.py reseal`: every sealed secret under the newest key, so that older keys can be dropped from SEAL_KEYS."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from audit import changes
from lib import db, seal
from tenants.models import Tenant
from tools.models import Connection


class Command(BaseCommand):
    help = "Seal every connection's secret anew with the first key of SEAL_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        # The owner sees which tenants there are; each is then worked on as the hub works, in its own scope.
        resealed = [self._tenant(pk) for pk in Tenant.objects.using("owner").values_list("pk", flat=True)]
        self.stdout.write(f"{sum(resealed)} secrets are sealed with the first key of SEAL_KEYS.")

    @staticmethod
    def _tenant(tenant_id: int) -> int:
        with transaction.atomic(), db.tenant_scope([tenant_id]):
            sealed = Connection.objects.select_for_update().filter(tenant_id=tenant_id, secret__isnull=False)
            for connection in sealed:
                try:
                    connection.secret = seal.reseal(connection.secret or b"")
                except seal.SealError as problem:
                    raise CommandError(
                        f"Connection {connection.name!r}: {problem}. Nothing of its tenant was changed."
                    ) from None
                connection.save(update_fields=["secret"])
                changes.record(tenant_id=tenant_id, actor="system", verb="resealed the secret of", subject=connection)
            return len(sealed)
