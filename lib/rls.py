"""Row-level security and grants: the second wall between tenants, kept by Postgres itself.

A migration calls `tenant_policy` for every table that carries a tenant. After each `migrate`, `grant` gives the
application role exactly what it needs and no more. The owner of the tables is not bound by the policies (that is what
lets the narrow SECURITY DEFINER functions work), which is why the hub must never run as the owner.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import RunSQL
from psycopg import AsyncConnection

# `nullif`: a setting that was reset reads as an empty string, which is not an array.
VISIBLE = "ANY (nullif(current_setting('mcphub.tenants', true), '')::bigint[])"


def tenant_policy(table: str, column: str = "tenant_id") -> RunSQL:
    """A migration step: rows of `table` are visible and writable only for the tenants of the transaction."""
    return RunSQL(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
        f"CREATE POLICY tenant ON {table} USING ({column} = {VISIBLE}) WITH CHECK ({column} = {VISIBLE});",
        f"DROP POLICY tenant ON {table}; ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;",
    )


def shared_policy(table: str, column: str = "tenant_id") -> RunSQL:
    """A migration step: as `tenant_policy`, for a table whose rows may also belong to no tenant: all see these, and
    none may delete them."""
    allowed = f"({column} IS NULL OR {column} = {VISIBLE})"
    return RunSQL(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
        f"CREATE POLICY tenant ON {table} USING {allowed} WITH CHECK {allowed};"
        f"CREATE POLICY own ON {table} AS RESTRICTIVE FOR DELETE USING ({column} = {VISIBLE});",
        f"DROP POLICY own ON {table}; DROP POLICY tenant ON {table}; ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;",
    )


def definer(
    signature: str, returns: str, body: str, *, language: str = "sql", volatility: str = "VOLATILE", settings: str = ""
) -> RunSQL:
    """A migration step: a function that runs with the owner's rights. Each one must be narrow; say why beside it.

    settings: further `SET name = value` clauses that hold while it runs.
    """
    name = signature.split("(", 1)[0]
    arguments = signature[len(name) :]
    types = ",".join(argument.strip().split(" ", 1)[1] for argument in arguments.strip("()").split(",") if argument)
    return RunSQL(
        f"CREATE FUNCTION {name}{arguments} RETURNS {returns} LANGUAGE {language} {volatility} SECURITY DEFINER "
        f"SET search_path = public, pg_temp {settings} AS $body$ {body} $body$;"
        f"REVOKE ALL ON FUNCTION {name}({types}) FROM PUBLIC;",
        f"DROP FUNCTION {name}({types});",
    )


def grant(owner: BaseDatabaseWrapper, role: str, tables: Mapping[str, str], functions: Iterable[str]) -> None:
    """Give `role` the listed privileges on each table and EXECUTE on each function, taking away anything else.

    One transaction, so that a hub that is serving meanwhile never finds itself without its rights.
    """
    quote = owner.ops.quote_name
    with transaction.atomic(using=owner.alias), owner.cursor() as cursor:
        cursor.execute(f"GRANT USAGE ON SCHEMA public TO {quote(role)}")
        cursor.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {quote(role)}")
        cursor.execute(f"REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM {quote(role)}")
        cursor.execute(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {quote(role)}")
        for table, privileges in tables.items():
            if privileges:
                cursor.execute(f"GRANT {privileges} ON {quote(table)} TO {quote(role)}")
        for function in functions:
            cursor.execute("SELECT to_regprocedure(%s) IS NOT NULL", [function])
            if cursor.fetchone()[0]:  # absent after migrating only some of the rooms
                cursor.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {quote(role)}")


def grant_schema(owner: BaseDatabaseWrapper, role: str, schema: str) -> None:
    """Let `role` use everything in a schema that holds no tenant's data, such as the broker's; nothing if it is absent.

    Making or dropping what is in it stays the owner's.
    """
    quote = owner.ops.quote_name
    with transaction.atomic(using=owner.alias), owner.cursor() as cursor:
        cursor.execute("SELECT to_regnamespace(%s) IS NOT NULL", [schema])
        if not cursor.fetchone()[0]:
            return
        cursor.execute(f"GRANT USAGE ON SCHEMA {quote(schema)} TO {quote(role)}")
        cursor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {quote(schema)} TO {quote(role)}")
        cursor.execute(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {quote(schema)} TO {quote(role)}")
        cursor.execute(f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {quote(schema)} TO {quote(role)}")


async def why_not_bound(conn: AsyncConnection[Any]) -> str | None:
    """Why the current role is not bound by the policies, as a sentence; None when it is.

    MEMBER rather than USAGE: who does not inherit the owner's rights may still SET ROLE to it.
    """
    cursor = await conn.execute(
        "SELECT current_user, rolsuper, rolbypassrls,"
        " EXISTS (SELECT FROM pg_class WHERE relrowsecurity AND pg_has_role(current_user, relowner, 'MEMBER'))"
        " FROM pg_roles WHERE rolname = current_user"
    )
    role, superuser, bypass, owner = await cursor.fetchone() or ("", True, True, True)
    reason = "is a superuser" if superuser else "has BYPASSRLS" if bypass else "owns the tables" if owner else None
    return f"The database role {role} {reason}, so row-level security does not bind it." if reason else None
