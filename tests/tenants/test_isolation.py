"""No tenant sees another, even if code forgets: what Postgres itself keeps apart."""
# ruff: noqa: S608 - the names of tables come from this file and the models

import asyncio
import os
import secrets
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.db import connection, models, transaction
from django.utils import timezone
from psycopg import sql
from psycopg.types.json import Jsonb

from access.models import AccessToken, Admission, Client, Consent, Grant, OutsideIssuer, RefreshToken
from audit import changes
from jobs.models import Allowance, Approval, Callback, Confirmation, Delivery, Hook, Job, Note
from lib import db, rls
from mcphub.apps import FUNCTIONS
from oversight.models import Switch
from policy.models import AccessRequest, Draft, Limit, Rule, Ruleset
from tenants.models import Group, Invitation, Member, Tenant
from tests.cast import Cast
from tests.database import superuser_conninfo
from tests.postgres import Connection, as_app, as_owner, rows
from tools.models import Connection as Upstream
from tools.models import Tool


def tenant_column(model: type[models.Model]) -> str | None:
    """The column that says whose a row is; None for what belongs to no tenant."""
    if model is Tenant:
        return "id"
    found = [field.column for field in model._meta.concrete_fields if field.column == "tenant_id"]
    return found[0] if found else None


TABLES = {
    model._meta.db_table: column
    for model in apps.get_models(include_auto_created=True)
    if (column := tenant_column(model)) is not None
}


NEVER_CHANGED = {"audit_entry", "tools_version", "policy_ruleset"}
NEVER_DELETED = {("jobs_job", "DELETE")}


def unprotected(conn: Connection, tables: dict[str, str]) -> list[str]:
    """Tables without row-level security, or without a policy that both hides rows and refuses new ones."""
    kept = rows(
        conn,
        "SELECT c.relname FROM pg_class c JOIN pg_policies p ON p.tablename = c.relname AND p.schemaname = 'public'"
        " WHERE c.relrowsecurity AND p.cmd = 'ALL' AND p.qual LIKE '%%mcphub.tenants%%'"
        " AND p.with_check LIKE '%%mcphub.tenants%%'",
    )
    return sorted(tables.keys() - {table for (table,) in kept})


@pytest.fixture
def furnished(cast: Cast) -> Cast:
    """Both tenants with a row in every table that carries a tenant."""
    for tenant, user in ((cast.acme, cast.olga), (cast.beta, cast.bob)):
        cast.scopes(tenant, {"tickets.read": "Read"})
        tool = cast.tool(tenant)
        cast.key(user, tenant)
        with cast.see(tenant):
            Upstream.objects.create(tenant=tenant, name="Desk", base_url="https://desk.example.com")
            Limit.objects.create(tenant=tenant, most=10)
            changes.record(tenant_id=tenant.pk, actor="system", verb="looked at", subject=tenant)
            Switch.objects.create(tenant=tenant, sort="tool", target=str(tool.pk), thrown_at=timezone.now())
            member = cast.member(tenant, user)
            _let_in(member)
            _have_worked(member, tool)
            _have_rules(member, tool)
    return cast


def _let_in(member: Member) -> None:
    """A client with a consent and everything that comes of one, an invitation, and a trusted issuer."""
    tenant, now, secret = member.tenant, timezone.now(), secrets.token_hex(32)
    client = Client.objects.create(tenant=tenant, client_type="public", authorization_grant_type="authorization-code")
    Admission.objects.create(tenant=tenant, client=client, state=Admission.State.ASKED, asked_by=member)
    OutsideIssuer.objects.create(tenant=tenant, issuer="https://id.example.com", jwks_uri="https://id.example.com/keys")
    Invitation.objects.create(tenant=tenant, digest=secret, expires_at=now)
    consent = Consent.objects.create(
        tenant=tenant, member=member, client=client, shown={}, shown_hash="", redirect_origin="", given_at=now
    )
    bound = {"tenant": tenant, "member": member, "consent": consent, "user": member.user, "application": client}
    Grant.objects.create(**bound, code=secret, expires=now)
    access = AccessToken.objects.create(**bound, token_checksum=secret, expires=now)
    RefreshToken.objects.create(**bound, token_checksum=secret, access_token=access)


def _have_worked(member: Member, tool: Tool) -> None:
    """A job that waits and was called back, the tenant's allowance, and a hook with a delivery."""
    tenant, now = member.tenant, timezone.now()
    job = Job.objects.create(
        tenant=tenant,
        member=member,
        version=tool.versions.get(),
        tool=tool.name,
        idempotent=False,
        fingerprint=secrets.token_hex(16),
        created_at=now,
        changed_at=now,
        due_at=now + timedelta(days=1),  # no worker of another test may take it
        patience_until=now + timedelta(days=1),
        keep=timedelta(days=1),
    )
    Callback.objects.create(tenant=tenant, job=job, start=0, body=b"")
    Allowance.objects.create(tenant=tenant)
    hook = Hook.objects.create(tenant=tenant, url="https://hooks.example.com/jobs", secret=b"")
    Delivery.objects.create(tenant=tenant, hook=hook, job=job, due_at=now + timedelta(days=1))
    approval = Approval.objects.create(
        tenant=tenant, job=job, member=member, tool=tool.name, arguments=b"", created_at=now, expires_at=now
    )
    Note.objects.create(tenant=tenant, approval=approval, author=member.user, text="Why?")
    Group.objects.create(tenant=tenant, name="refunds").members.add(member)


def _have_rules(member: Member, tool: Tool) -> None:
    """A draft and a published version, somebody who asks for an exception, and a question that is open."""
    tenant, rule = member.tenant, {"name": "Nobody writes", "effect": "deny"}
    Rule.objects.create(tenant=tenant, **rule)
    Draft.objects.create(tenant=tenant)
    Ruleset.objects.create(tenant=tenant, number=1, rules=[rule])
    AccessRequest.objects.create(tenant=tenant, member=member, tool=tool.name, why="To answer them.")
    Confirmation.objects.create(
        tenant=tenant, member=member, tool=tool.name, arguments=b"", expires_at=timezone.now() + timedelta(days=1)
    )


@pytest.fixture
def app() -> Iterator[Connection]:
    with as_app(autocommit=False) as conn:
        yield conn
        conn.rollback()


def point_at(conn: Connection, tenant: Tenant) -> None:
    conn.execute("SELECT set_config('mcphub.tenants', %s, true)", [f"{{{tenant.pk}}}"])


def test_every_table_of_a_tenant_has_a_policy() -> None:
    assert {"tenants_tenant", "tools_tool", "audit_entry", "access_apikey", "policy_limit"} <= TABLES.keys()
    with as_owner() as owner:
        assert unprotected(owner, TABLES) == []


def test_a_table_of_a_tenant_without_a_policy_is_noticed() -> None:
    with as_owner(autocommit=False) as owner:
        owner.execute("CREATE TABLE forgotten (id bigint, tenant_id bigint)")
        assert unprotected(owner, {**TABLES, "forgotten": "tenant_id"}) == ["forgotten"]
        owner.execute("ALTER TABLE forgotten ENABLE ROW LEVEL SECURITY")
        owner.execute("CREATE POLICY tenant ON forgotten USING (true)")
        assert unprotected(owner, {**TABLES, "forgotten": "tenant_id"}) == ["forgotten"]
        owner.rollback()


@pytest.mark.parametrize("table", sorted(TABLES))
def test_pointed_at_one_tenant_no_row_of_another_is_read(furnished: Cast, app: Connection, table: str) -> None:
    point_at(app, furnished.acme)
    seen = {tenant for (tenant,) in rows(app, f"SELECT {TABLES[table]} FROM {table} WHERE {TABLES[table]} IS NOT NULL")}
    assert seen == {furnished.acme.pk}


@pytest.mark.parametrize("table", sorted(TABLES))
@pytest.mark.parametrize("verb", ["UPDATE {table} SET {column} = {column}", "DELETE FROM {table}"])
def test_pointed_at_one_tenant_no_row_of_another_is_changed(
    furnished: Cast, app: Connection, table: str, verb: str
) -> None:
    point_at(app, furnished.acme)
    column = TABLES[table]
    statement = verb.format(table=table, column=column)
    try:
        done = app.execute(f"{statement} WHERE {column} = {furnished.beta.pk}")
        assert done.rowcount == 0
    except psycopg.errors.InsufficientPrivilege:
        assert table in NEVER_CHANGED


@pytest.mark.parametrize("table", sorted(TABLES))
def test_pointed_at_one_tenant_no_row_is_inserted_for_another(furnished: Cast, app: Connection, table: str) -> None:
    """A copy of the other tenant's own row, so that nothing but the policy stands in its way."""
    with as_owner() as owner:
        column = TABLES[table]
        (copied,) = rows(owner, f"SELECT to_jsonb(t) FROM {table} t WHERE {column} = %s LIMIT 1", furnished.beta.pk)[0]
    point_at(app, furnished.acme)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"row-level security|permission denied"):
        app.execute(
            f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_record(NULL::{table}, %s)",
            [Jsonb(copied)],
        )


@pytest.mark.parametrize("table", sorted(TABLES.keys() - NEVER_CHANGED))
def test_a_row_cannot_be_given_to_another_tenant(furnished: Cast, app: Connection, table: str) -> None:
    point_at(app, furnished.acme)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        app.execute(f"UPDATE {table} SET {TABLES[table]} = {furnished.beta.pk}")


@pytest.mark.parametrize("table", sorted(TABLES))
def test_without_a_tenant_nothing_is_seen(furnished: Cast, app: Connection, table: str) -> None:
    assert rows(app, f"SELECT 1 FROM {table} WHERE {TABLES[table]} IS NOT NULL LIMIT 1") == []


def test_a_client_that_the_whole_hub_knows_is_seen_everywhere_and_deleted_nowhere(
    furnished: Cast, app: Connection
) -> None:
    Client.objects.create(client_id=f"known-{furnished.acme.slug}", client_type="public", redirect_uris="")
    point_at(app, furnished.acme)
    known = f"FROM access_client WHERE client_id = 'known-{furnished.acme.slug}'"
    assert len(rows(app, f"SELECT 1 {known}")) == 1
    assert app.execute(f"DELETE {known}".encode()).rowcount == 0


@pytest.mark.parametrize("reset", ["RESET mcphub.tenants", "SET mcphub.tenants = ''", "SET mcphub.tenants = '{}'"])
def test_after_a_reset_nothing_is_seen(furnished: Cast, app: Connection, reset: str) -> None:
    app.execute("SELECT set_config('mcphub.tenants', %s, false)", [f"{{{furnished.acme.pk}}}"])
    assert rows(app, "SELECT 1 FROM tools_tool") != []
    app.execute(reset)
    assert rows(app, "SELECT 1 FROM tools_tool") == []


@pytest.mark.parametrize("partition", ["audit_entry_other", None])
def test_a_partition_of_the_ledger_is_no_way_round_the_policy(
    furnished: Cast, app: Connection, partition: str | None
) -> None:
    name = partition or rows(app, "SELECT 'audit_entry_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')")[0][0]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(app, f"SELECT 1 FROM {name}")


def test_the_scope_of_a_transaction_does_not_outlive_it_on_djangos_pool(furnished: Cast) -> None:
    def backend_and_rows() -> tuple[int, int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid(), (SELECT count(*) FROM tools_tool)")
            pid, count = cursor.fetchone()
            return pid, count

    with db.tenant_scope([furnished.acme.pk]):
        inside = backend_and_rows()
    with transaction.atomic():
        after = backend_and_rows()
    assert inside == (after[0], 1)
    assert after[1] == 0


def test_a_nested_scope_gives_back_what_it_found(furnished: Cast) -> None:
    def seen() -> set[int]:
        return set(Tenant.objects.values_list("pk", flat=True))

    with db.tenant_scope([furnished.acme.pk]):
        with db.tenant_scope([furnished.beta.pk]):
            assert seen() == {furnished.beta.pk}
        assert seen() == {furnished.acme.pk}
        with pytest.raises(ZeroDivisionError), db.tenant_scope([furnished.beta.pk]):
            raise ZeroDivisionError
        assert seen() == {furnished.acme.pk}
    assert seen() == set()


def test_the_scope_of_a_transaction_does_not_outlive_it_on_the_async_pool(furnished: Cast) -> None:
    async def looks() -> list[Any]:
        query = "SELECT pg_backend_pid(), count(*) FROM tools_tool"
        async with db.open_pool(size=1) as pool:
            async with db.tenant_transaction(furnished.acme.pk) as conn:
                inside = await (await conn.execute(query)).fetchone()
            async with pool.connection() as conn:
                return [inside, await (await conn.execute(query)).fetchone()]

    (backend, inside), after = asyncio.run(looks())
    assert inside == 1
    assert after == (backend, 0)


def test_the_application_role_is_bound_by_the_policies(app: Connection) -> None:
    assert rows(app, "SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = current_user") == [
        (False, False, False)
    ]
    assert rows(app, "SELECT relname FROM pg_class WHERE pg_has_role(current_user, relowner, 'MEMBER')") == []
    assert rows(app, "SELECT has_schema_privilege(current_user, 'public', 'CREATE')") == [(False,)]


def test_the_hub_does_not_start_as_the_owner_of_the_tables() -> None:
    """As `uvicorn` does: the exit code, and one sentence that says what to do."""
    command = [sys.executable, "-m", "uvicorn", "mcphub.asgi:app", "--port", "0", "--log-level", "warning"]
    environment = {**os.environ, "DATABASE_URL": os.environ["DATABASE_OWNER_URL"]}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 3
    assert "The database role mcphub_owner owns the tables, so row-level security does not bind it." in ended.stderr
    assert "put the owner in DATABASE_OWNER_URL" in ended.stderr


@pytest.mark.parametrize(
    ("role", "bound"), [("mcphub_app", True), ("mcphub_owner", False), ("heir", False), ("may_become_owner", False)]
)
def test_a_role_that_is_or_may_become_the_owner_is_not_bound(role: str, bound: bool) -> None:
    """Also one that does not inherit the owner's rights: SET ROLE gives them."""

    async def ask() -> str | None:
        async with await psycopg.AsyncConnection.connect(superuser_conninfo()) as conn:
            await conn.execute("CREATE ROLE heir INHERIT IN ROLE mcphub_owner")
            await conn.execute("CREATE ROLE may_become_owner NOINHERIT IN ROLE mcphub_owner")
            await conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
            why = await rls.why_not_bound(conn)
            await conn.rollback()
        return why

    assert (asyncio.run(ask()) is None) is bound


DEFINERS = {
    "audit_append": "adds ledger rows of any tenant, and does nothing else",
    "audit_append_again": "the same, leaving out what is there",
    "audit_partitions": "makes the ledger's coming months",
    "audit_sweep": "adds the interrupted entries of processes that are gone",
    "audit_heartbeat": "a process says that it lives",
    "audit_farewell": "a process says that it stopped, with nothing left open",
    "tenants_reached_by": "ids of the tenants a person belongs to",
    "tenants_public": "what an enabled tenant says to anybody",
    "access_admit": "what an exact digest opens",
    "access_admit_outside": "whom claims name that are still to be proven",
    "access_touch": "moves timestamps, and from where a consent was last used",
    "access_opens": "the id of the tenant whose exact secret is presented",
    "access_throttle": "counts in buckets, which are no tenant's data",
    "access_standing": "what a member's named credential may do now; no secret opens anything by it",
    "access_forget": "drops what nothing can ask for any more",
    "access_spend": "whether a random id was presented before",
    "access_unspend": "forgets that",
    "access_forget_spent": "the same for those that cannot be presented any more",
    "tenants_invited": "what the link of an open invitation says",
    "policy_take": "counts in buckets, which are no tenant's data",
    "policy_note": "counts in windows, which are no tenant's data",
    "policy_forget": "drops full and empty ones",
    "jobs_claim": "takes one waiting job by fairness, and answers its id, tenant and fence",
    "jobs_begin": "one moment of the job whose fence is presented",
    "jobs_beat": "the same, and whether its people and tool are still switched on",
    "jobs_finish": "ends the job whose fence is presented",
    "jobs_release": "gives it back",
    "jobs_cancel": "asks a job of the transaction's own tenants to stop",
    "jobs_decide": "decides on a held job of the transaction's own tenants, once",
    "jobs_lapse": "ends held jobs that nobody decided on in time",
    "jobs_mails": "takes approvals that people are to be written to about, and answers their ids and tenants",
    "jobs_sweep": "takes what dead workers held; answers a number",
    "jobs_worker_here": "a worker says that it lives",
    "jobs_worker_gone": "a worker says that it stopped",
    "jobs_health": "numbers of the whole hub",
    "jobs_forget": "drops what is over; answers where results lay",
    "jobs_forget_confirmations": "drops questions that are over",
    "jobs_due": "takes waiting deliveries, and answers their ids and tenants",
    "jobs_kill": "asks open jobs of the transaction's own tenants to stop; answers a number",
    "oversight_killed": "which of the calls that are named are to stop, by their place in the question",
    "oversight_tenants": "ids of the tenants, for the command line",
    "oversight_living": "ids of the processes that live, which are random",
    "jobs_tell": "adds a job's row to the ledger",
    "jobs_announce": "queues what a job's hooks are told",
    "jobs_outcome": "a word for a word",
    "jobs_removed": "the ledger's word on a job whose row is removed",
    "jobs_settled": "an approval follows its job",
    "jobs_owned": "an approval keeps who owns its tenant when it is made",
}
"""Every way past the policies, and why it is narrow enough."""

INNER = {"jobs_tell", "jobs_announce", "jobs_outcome", "jobs_removed", "jobs_settled", "jobs_owned"}
"""Parts of other functions, which the application role may not call by themselves."""

BOUND = {"jobs_accept"}
"""What the application role calls as itself, bound by the policies."""


def test_no_way_past_the_policies_is_forgotten() -> None:
    with as_owner() as owner:
        found = rows(owner, "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace")
    assert sorted(name for (name,) in found) == sorted(DEFINERS)


def test_every_way_past_the_policies_is_pinned_and_for_the_application_role_only() -> None:
    with as_owner() as owner:
        found = rows(
            owner,
            "SELECT proname, coalesce(proconfig, '{}'), has_function_privilege('mcphub_app', oid, 'EXECUTE'),"
            " EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0)"
            " FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace",
        )
    granted = {signature.split("(")[0] for signature in FUNCTIONS}
    assert {name for name, *_ in found} == granted - BOUND | INNER
    for name, config, usable, public in found:
        planned = ["plan_cache_mode=force_generic_plan"] if name.startswith(("access_admit", "access_standing")) else []
        assert (name, config) == (name, ["search_path=public, pg_temp", *planned])
        assert (name, usable, public) == (name, name not in INNER, False)


@pytest.mark.parametrize("table", ["jobs_worker", "jobs_watch"])
def test_tables_of_the_workers_themselves_are_reached_by_functions_only(app: Connection, table: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
        rows(app, f"SELECT 1 FROM {table}")


def test_a_job_is_accepted_for_the_tenant_of_the_transaction_only(furnished: Cast, app: Connection) -> None:
    """`jobs_accept` is not a way past the policies: it runs as who calls it."""
    with as_owner() as owner:
        (given,) = rows(owner, "SELECT to_jsonb(j) FROM jobs_job j WHERE tenant_id = %s", furnished.beta.pk)[0]
    given |= {"id": str(uuid.uuid4()), "fingerprint": secrets.token_hex(16)}
    entry = {"tenant_id": furnished.beta.pk, "event": "job.accepted", "call_id": given["id"]}
    point_at(app, furnished.acme)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        app.execute(
            "SELECT jobs_accept(%s, ''::bytea, %s, 0, 60, 60, 8, 1000)",
            [Jsonb(given), Jsonb(entry)],
        )


def test_a_job_is_cancelled_in_its_own_tenant_only(furnished: Cast, app: Connection) -> None:
    """Whichever tenant is named: a foreign job is not found."""
    job = "SELECT id FROM jobs_job WHERE tenant_id = %s"
    with as_owner() as owner:
        ((foreign,),) = rows(owner, job, furnished.beta.pk)
        for named in (furnished.acme, furnished.beta):
            point_at(app, furnished.acme)
            assert rows(app, "SELECT jobs_cancel(%s, %s, 'mallory')", foreign, named.pk) == [(None,)]
            app.commit()
        assert rows(owner, "SELECT state, cancel_at FROM jobs_job WHERE id = %s", foreign) == [("queued", None)]
