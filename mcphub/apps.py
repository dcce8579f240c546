"""After every `migrate`, the application role gets exactly what it needs (see lib.rls)."""

from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.db import connections
from django.db.models.signals import post_migrate

from lib import db, rls

EVERYTHING = "SELECT, INSERT, UPDATE, DELETE"
NARROWER = {
    "audit_entry": "SELECT",
    "tools_version": "SELECT, INSERT",
    "policy_ruleset": "SELECT, INSERT",
    "oauth2_provider_devicegrant": "",  # the toolkit's, for a grant that the hub does not have
    "access_idtoken": "SELECT",  # never issued; the toolkit joins it
}
# Tables without a model.
PLAIN = {"django_migrations": "SELECT", "web_cache": EVERYTHING}
FUNCTIONS = (
    "audit_append(jsonb)",
    "audit_append_again(jsonb)",
    "audit_partitions(int)",
    "audit_sweep(uuid)",
    "audit_heartbeat(uuid, text, int)",
    "audit_farewell(uuid)",
    "tenants_reached_by(bigint)",
    "tenants_public(text)",
    "access_admit(text[], text[], text[])",
    "access_admit_outside(text[], text[])",
    "access_touch(bigint[], bigint[], text[])",
    "access_opens(text[], text)",
    "access_throttle(text, float8, float8)",
    "access_forget()",
    "access_spend(uuid, float8)",
    "access_unspend(uuid)",
    "access_forget_spent()",
    "access_standing(bigint, bigint, text, bigint)",
    "tenants_invited(text)",
    "policy_take(text[], text[], int[], uuid[], float8[], int[], int[], float8[], float8[], int[], uuid[], float8[],"
    " text[])",
    "policy_note(text[], float8[], int[])",
    "policy_forget()",
    "jobs_accept(jsonb, bytea, jsonb, float8, float8, float8, int, int)",
    "jobs_claim(uuid, float8, int, int)",
    "jobs_begin(uuid, bigint)",
    "jobs_beat(uuid, bigint, float8, float8, float8, text, jsonb)",
    "jobs_finish(uuid, bigint, text, text, bytea, text, bigint, jsonb)",
    "jobs_release(uuid, bigint, float8, boolean, text)",
    "jobs_cancel(uuid, bigint, text)",
    "jobs_decide(uuid, bigint, text, bigint, text, text, text)",
    "jobs_lapse()",
    "jobs_mails(int, float8)",
    "jobs_sweep(float8)",
    "jobs_worker_here(uuid, text, int, int)",
    "jobs_worker_gone(uuid)",
    "jobs_health()",
    "jobs_forget()",
    "jobs_forget_confirmations()",
    "jobs_due(int, int, float8)",
    "jobs_kill(text, bigint, bigint, text)",
    "oversight_killed(bigint[], bigint[], text[], bigint[], bigint[])",
    "oversight_tenants()",
    "oversight_living()",
)


class HubConfig(AppConfig):
    name = "mcphub"

    def ready(self) -> None:
        from mcphub import account_entries  # noqa: F401 - its receivers are connected by importing it

        db.look_at_all_when_one_broke()
        # Django sends this once per app that has models, after all of them are migrated; one of them is enough.
        post_migrate.connect(grant_application_role, sender=apps.get_app_config("tenants"))


def grant_application_role(using: str, **_: Any) -> None:
    """Grant on the database that was migrated, to the role the hub runs as."""
    role = settings.DATABASES["default"]["USER"]
    owner = connections[using]
    if not role or role == owner.settings_dict["USER"]:
        return
    tables = {model._meta.db_table: EVERYTHING for model in apps.get_models(include_auto_created=True)}
    existing = set(owner.introspection.table_names())
    privileges = {**{table: NARROWER.get(table, grants) for table, grants in tables.items()}, **PLAIN}
    rls.grant(owner, role, {table: grants for table, grants in privileges.items() if table in existing}, FUNCTIONS)
    rls.grant_schema(owner, role, "pgmq")
