"""The catalog: a tenant's live tools, ready to run, as a frozen snapshot by version."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from pydantic import BaseModel, ValidationError

from lib import db, seal
from lib.detect import attacks
from lib.detect.links import host_of
from lib.schema import SchemaError, Validator, compile_schema
from lib.versioned import Versioned
from policy import live
from policy.rules import NO_RULES, Rules, compiled
from policy.take import Limits
from policy.values import Subject
from tools import known
from tools.cleaning import Cleaner, Surroundings, cleaner, surroundings
from tools.kinds import KINDS, parse_config
from tools.manifest import leads_elsewhere
from tools.models import Runs
from tools.threads import Crew
from tools.values import Call, Result

log = logging.getLogger(__name__)


_NOT_THE_VALUE = {"properties", "patternProperties", "$defs", "definitions", "default", "examples", "const", "enum"}


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveConnection:
    """A Connection with its credentials opened. They stay out of its repr. shut: no key of ours opens its secret."""

    id: int
    name: str
    base_url: str
    auth: str
    auth_name: str
    username: str
    secret: str = field(repr=False)
    allow_hosts: frozenset[str]
    shut: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Lasting:
    """How a tool's calls run as jobs.

    wait: seconds a host waits before it is given a handle, 0 for not at all. most_attempts: for what may be repeated.
    replay: seconds in which the same call joins the job. keep: seconds that a result is kept. patience: seconds until
    a job that has not started expires. required: hosts that cannot follow a task are refused.
    """

    wait: float
    most_attempts: int
    replay: float
    keep: float
    patience: float
    priority: int
    required: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveTool:
    """A tool ready to run. number: the version, 0 for a draft; version_id: its row, 0 for a draft.

    lasting: how its jobs run; None when it runs while the host waits. run: for a tool of the hub's own, what runs it.
    hidden: arguments that are secret by their schema. mirrored: whether hosts repeat some in HTTP headers. inspect:
    detectors that look through its arguments. high_risk: the classifier judges them too.
    untrusted: its results hold what others wrote. cleaning: what is taken out of them. cleaner: the same made ready;
    None for the hub's own tools.
    """

    name: str
    number: int
    manifest: Mapping[str, Any]
    input: Validator
    output: Validator | None
    subject: Subject
    hidden: frozenset[str]
    mirrored: bool
    kind: str
    config: Any
    connection: LiveConnection | None
    timeout: float
    max_result: int
    idempotent: bool
    version_id: int = 0
    lasting: Lasting | None = None
    inspect: frozenset[str] = frozenset()
    high_risk: bool = False
    untrusted: bool = False
    cleaning: Mapping[str, Any] = field(default_factory=dict)
    cleaner: Cleaner | None = None
    run: Callable[[Call], Awaitable[Result]] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalog:
    """What a tenant offers at one version. renderings: room for what an edge derives from it, dropped with it."""

    tenant_id: int
    slug: str
    name: str
    instructions: str
    version: int
    tools: Mapping[str, LiveTool]
    limits: Limits
    rules: Rules = NO_RULES
    renderings: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


def make_live(
    row: Mapping[str, Any], connection: LiveConnection | None, around: Surroundings | None = None
) -> LiveTool:
    """A LiveTool from a version's (or a draft's) columns; raises SchemaError, ValidationError or KeyError."""
    config: BaseModel = parse_config(row["kind"], row["config"])
    if KINDS[row["kind"]].NEEDS_CONNECTION and connection is None:
        raise SchemaError("this kind needs a connection", "connection")
    return LiveTool(
        name=row["name"],
        number=row["number"],
        manifest=row["manifest"],
        input=compile_schema(row["input_schema"]),
        output=compile_schema(row["output_schema"]) if row["output_schema"] is not None else None,
        subject=subject_of(row),
        hidden=secret_names(row["input_schema"]),
        mirrored="x-mcp-header" in str(row["input_schema"]),
        kind=row["kind"],
        config=config,
        connection=connection,
        timeout=float(row["timeout"]),
        max_result=row["max_result"],
        idempotent=row["idempotent"] or row["read_only"],
        version_id=row["id"] if row["number"] else 0,
        lasting=_lasting(row) if row["runs"] != Runs.INLINE else None,
        inspect=attacks.known(row["inspect"]),
        high_risk=row["high_risk"],
        untrusted=row["untrusted"],
        cleaning=row["cleaning"],
        cleaner=_cleaner(row["cleaning"], row["untrusted"], connection, around or Surroundings()),
    )


def cleaner_of(tool: LiveTool, connection: LiveConnection | None, around: Surroundings) -> Cleaner:
    """What is taken out of the tool's results as things stand now."""
    return _cleaner(tool.cleaning, tool.untrusted, connection, around)


def _cleaner(
    written: Mapping[str, Any], untrusted: bool, connection: LiveConnection | None, around: Surroundings
) -> Cleaner:
    host = host_of(connection.base_url) if connection is not None else ""
    return cleaner(written, untrusted=untrusted, host=host, around=around)


def subject_of(row: Mapping[str, Any]) -> Subject:
    """A version's (or a draft's) columns as policy sees them."""
    read_only = row["read_only"]
    traits = {
        "read_only": read_only,
        "destructive": row["destructive"] and not read_only,
        "idempotent": row["idempotent"] or read_only,
        "open_world": row["open_world"],
    }
    return Subject(
        name=row["name"],
        scopes=frozenset(row["scopes"]),
        tags=frozenset(row["tags"]),
        kind=row["kind"],
        traits=frozenset(name for name, holds in traits.items() if holds),
        pin=row.get("manifest_hash", ""),
        units=row["units"],
        most_bytes=2 * row["max_result"],  # as content, and again as structure
    )


def _lasting(row: Mapping[str, Any]) -> Lasting:
    return Lasting(
        wait=float(row["wait"]) if row["runs"] == Runs.AUTOMATIC else 0.0,
        most_attempts=row["most_attempts"],
        replay=float(row["replay_seconds"]),
        keep=row["keep_hours"] * 3600.0,
        patience=row["patience_minutes"] * 60.0,
        priority=row["priority"],
        required=row["task_required"],
    )


def secret_names(schema: Any) -> frozenset[str]:
    """Names of properties that a schema marks as secret, at any depth: `writeOnly` or `format: password`.

    The mark may stand below the property, in `anyOf`, in `items` or behind a `$ref`, as for an optional secret.
    """
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            properties = node.get("properties")
            if isinstance(properties, dict):
                found |= {name for name, one in properties.items() if _is_secret(one, schema)}
            waiting += node.values()
    return frozenset(found)


def _is_secret(node: Any, schema: Any) -> bool:
    """Whether the value a property's schema describes is secret, as against one of its own properties."""
    waiting, references = [node], set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            if one.get("writeOnly") is True or one.get("format") == "password":
                return True
            reference = one.get("$ref")
            if isinstance(reference, str) and reference not in references:
                references.add(reference)
                waiting.append(_referenced(reference, schema))
            waiting += [value for name, value in one.items() if name not in _NOT_THE_VALUE]
    return False


def _referenced(reference: str, schema: Any) -> Any:
    """What a JSON Pointer within the schema (RFC 6901) points at; None for any other reference."""
    if not reference.startswith("#/"):
        return None
    for part in reference[2:].split("/"):
        schema = schema.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(schema, dict) else None
    return schema


async def catalog(tenant_id: int, version: int) -> Catalog:
    """The tenant's catalog, no older than `version`."""
    return await _catalogs.get(tenant_id, version)


async def _load(tenant_id: int) -> tuple[int, Catalog]:
    async with db.tenant_transaction(tenant_id) as conn:
        tenant = (await _rows(conn, "SELECT * FROM tenants_tenant WHERE id = %s", tenant_id))[0]
        connections = {
            row["id"]: open_connection(row)
            for row in await _rows(conn, "SELECT * FROM tools_connection WHERE tenant_id = %s", tenant_id)
        }
        versions = await _rows(
            conn,
            "SELECT v.* FROM tools_tool t JOIN tools_version v ON v.id = t.live_id"
            " LEFT JOIN tools_connection c ON c.id = v.connection_id"
            " WHERE t.tenant_id = %s AND t.enabled AND coalesce(c.enabled, true) ORDER BY t.name",
            tenant_id,
        )
        rules, limits = await live.read(conn, tenant_id)
        kept = await known.of_tenant(conn, tenant_id)
    return tenant["catalog_version"], Catalog(
        tenant_id=tenant_id,
        slug=tenant["slug"],
        name=tenant["name"],
        instructions=tenant["instructions"],
        version=tenant["catalog_version"],
        tools=await _compilers.run(
            _live, versions, connections, _around(tenant["link_hosts"], connections.values(), kept)
        ),
        limits=limits,
        rules=await _compilers.run(compiled, rules) if rules else NO_RULES,
    )


async def _rows(conn: AsyncConnection[Any], query: str, tenant_id: int) -> list[dict[str, Any]]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, [tenant_id])
        return await cursor.fetchall()


def _live(
    versions: list[dict[str, Any]],
    connections: Mapping[int, LiveConnection],
    around: Surroundings | None = None,
) -> dict[str, LiveTool]:
    """The tools that can run. One that cannot is left out and logged: it must not take the others with it."""
    tools: dict[str, LiveTool] = {}
    for row in versions:
        connection = connections.get(row["connection_id"])
        if leads_elsewhere(row["destination"], connection.base_url if connection else ""):
            _tell_elsewhere(row["id"], row["name"], row["tenant_id"], connection.name if connection else "")
            continue
        try:
            tools[row["name"]] = make_live(row, connection, around)
        except (SchemaError, ValidationError, KeyError) as problem:
            log.error(  # noqa: TRY400
                "tool %s of tenant %s cannot be offered: %s", row["name"], row["tenant_id"], _without_values(problem)
            )
    return tools


@lru_cache(maxsize=1000)  # once for each version, not again with every change of the tenant
def _tell_elsewhere(version_id: int, tool: str, tenant_id: int, connection: str) -> None:
    log.warning(
        "tool %s of tenant %s is not offered: its connection %s leads elsewhere since version row %s was published",
        *(tool, tenant_id, connection, version_id),
    )


async def around(tenant_id: int, version: int) -> Surroundings:
    """What the tenant's tools have in common, no older than `version`, for who has no catalog at hand."""
    return await _surroundings.get(tenant_id, version)


async def _load_around(tenant_id: int) -> tuple[int, Surroundings]:
    async with db.tenant_transaction(tenant_id) as conn:
        tenant = (await _rows(conn, "SELECT * FROM tenants_tenant WHERE id = %s", tenant_id))[0]
        connections = await _rows(conn, "SELECT * FROM tools_connection WHERE tenant_id = %s", tenant_id)
        kept = await known.of_tenant(conn, tenant_id)
    return tenant["catalog_version"], _around(tenant["link_hosts"], map(open_connection, connections), kept)


def _around(link_hosts: Iterable[str], connections: Iterable[LiveConnection], kept: Iterable[str]) -> Surroundings:
    return surroundings(link_hosts, [*(one.secret for one in connections), *kept])


def _without_values(problem: Exception) -> str:
    """What is wrong, in words. A ValidationError's own text repeats the config, which may hold secrets."""
    if isinstance(problem, ValidationError):
        return "; ".join(
            f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
            for error in problem.errors(include_url=False, include_input=False, include_context=False)
        )
    return str(problem)


def open_connection(row: Mapping[str, Any]) -> LiveConnection:
    """A Connection's columns with the secret opened; one that no key opens comes shut and is logged."""
    secret, shut = "", False
    if row["secret"]:
        try:
            secret = seal.unseal(row["secret"])
        except seal.SealError as problem:
            shut = True
            log.error("connection %s of tenant %s: %s", row["name"], row["tenant_id"], problem)  # noqa: TRY400
    return LiveConnection(
        id=row["id"],
        name=row["name"],
        base_url=row["base_url"],
        auth=row["auth"],
        auth_name=row["auth_name"],
        username=row["username"],
        secret=secret,
        allow_hosts=frozenset(row["allow_hosts"]),
        shut=shut,
    )


async def working_scopes(tenant_id: int, version: int) -> frozenset[str]:
    """Every scope some live tool needs, no older than `version`: what a host should ask for at once, as most never
    ask again. Read without the catalog, since strangers ask for it.
    """
    return await _working.get(tenant_id, version)


async def _load_scopes(tenant_id: int) -> tuple[int, frozenset[str]]:
    async with db.tenant_transaction(tenant_id) as conn:
        (row,) = await _rows(
            conn,
            "SELECT catalog_version, ARRAY(SELECT unnest(v.scopes) FROM tools_tool t JOIN tools_version v"
            " ON v.id = t.live_id LEFT JOIN tools_connection c ON c.id = v.connection_id"
            " WHERE t.tenant_id = n.id AND t.enabled AND coalesce(c.enabled, true)) AS scopes"
            " FROM tenants_tenant n WHERE n.id = %s",
            tenant_id,
        )
    return row["catalog_version"], frozenset(row["scopes"])


_compilers = Crew("tools.catalog", 2)
_catalogs: Versioned[Catalog] = Versioned(_load, most=1000)
_surroundings: Versioned[Surroundings] = Versioned(_load_around, most=500)
_working: Versioned[frozenset[str]] = Versioned(_load_scopes, most=1000)
