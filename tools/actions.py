"""Writing tools and connections, as verbs. Each is one transaction with its ledger entry."""

import hashlib
from collections.abc import Iterable
from typing import Any

import orjson
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max
from pydantic import ValidationError as ConfigError
from yarl import URL

from audit import changes
from lib import seal
from lib.fetch import allowance_of
from lib.schema import SchemaError, compile_schema
from tenants import actions as tenant_actions
from tenants.models import Scope, User
from tools.kinds import KINDS, parse_config
from tools.kinds.http_config import only_called_back
from tools.manifest import encoded, manifest, manifest_hash
from tools.models import Connection, Definition, Runs, Tool, Version
from tools.vocabulary import RESERVED

LONGEST_WHILE_WAITING = 3600
"""Seconds that a call may take while its host waits; a job may take a day."""
DEFINED = tuple(field.name for field in Definition._meta.get_fields())
"""The fields that a draft and a version share."""


class DraftChanged(ValidationError):
    """The draft is no longer the one that was reviewed."""


def values(definition: Definition) -> dict[str, Any]:
    """A definition's fields as plain values, the connection by its name."""
    found = {name: getattr(definition, name) for name in DEFINED}
    return {**found, "connection": definition.connection.name if definition.connection else None}


def digest(definition: Definition) -> str:
    """Of everything that publishing would freeze."""
    frozen = {**values(definition), "connection": definition.connection_id}
    return hashlib.sha256(encoded(frozen, sort=True)).hexdigest()


def check(definition: Definition, tenant_id: int) -> None:
    """Raise ValidationError with a sentence per field for everything that would keep the draft from running."""
    errors: dict[str, Any] = {}
    for name in ("input_schema", "output_schema", "config"):
        try:
            orjson.dumps(getattr(definition, name))
        except TypeError as problem:  # the base of orjson's own error; whole numbers beyond 64 bits, mostly
            errors[name] = f"Hosts cannot be sent this: {problem}."
    for name in ("input_schema", "output_schema"):
        schema = getattr(definition, name)
        if schema is None and name == "output_schema":
            continue
        try:
            compile_schema(schema)
        except SchemaError as problem:
            errors.setdefault(name, str(problem))
    if not isinstance(definition.input_schema, dict) or definition.input_schema.get("type") != "object":
        errors.setdefault("input_schema", 'MCP asks for an object at the top: add "type": "object".')
    errors = _kind_errors(definition) | _scope_errors(definition, tenant_id) | _running_errors(definition) | errors
    if definition.connection is not None and definition.connection.tenant_id != tenant_id:
        errors["connection"] = "Choose a connection of this tenant."
    if errors:
        raise ValidationError(errors)


def _kind_errors(definition: Definition) -> dict[str, Any]:
    if definition.kind not in KINDS:
        return {"kind": f"There is no kind {definition.kind!r}; choose one of {', '.join(KINDS)}."}
    if KINDS[definition.kind].NEEDS_CONNECTION and definition.connection is None:
        return {"connection": f"The kind {definition.kind} needs a connection."}
    try:
        parse_config(definition.kind, definition.config)
    except ConfigError as problem:
        found = problem.errors(include_url=False, include_input=False)
        return {"config": [f"{'.'.join(map(str, one['loc'])) or 'config'}: {one['msg']}" for one in found]}
    return {}


def _running_errors(definition: Definition) -> dict[str, Any]:
    errors: dict[str, Any] = {}
    if definition.name in RESERVED:
        errors["name"] = f"The hub has a tool of its own named {definition.name}. Choose another name."
    if definition.runs == Runs.INLINE and (definition.timeout or 0) > LONGEST_WHILE_WAITING:
        errors["timeout"] = (
            f"No host waits for more than {LONGEST_WHILE_WAITING} seconds. Let it run as a job to give it longer."
        )
    if definition.runs == Runs.INLINE and definition.task_required:
        errors["task_required"] = "Hosts follow jobs, and this tool runs while they wait. Let it run as a job."
    if definition.runs == Runs.INLINE and definition.kind == "http" and only_called_back(definition.config):
        errors["runs"] = "Its upstream calls back, which only reaches a job. Let it run as a job, or poll as well."
    return errors


def _scope_errors(definition: Definition, tenant_id: int) -> dict[str, Any]:
    known = set(Scope.objects.filter(tenant_id=tenant_id).values_list("name", flat=True))
    if missing := sorted(set(definition.scopes) - known):
        return {"scopes": f"Not a scope of this tenant: {', '.join(missing)}. There are: {', '.join(sorted(known))}."}
    return {}


@transaction.atomic
def publish(tool: Tool, *, actor: User, reviewed: str | None = None) -> Version:
    """Freeze the draft as a new version and make it live. Raises ValidationError when it could not run.

    reviewed: the digest of the draft somebody agreed to; raises DraftChanged when it is another one by now.
    """
    locked = Tool.objects.select_for_update().get(pk=tool.pk)
    if reviewed is not None and reviewed != digest(locked):
        raise DraftChanged("The draft changed after this page was shown. Look again at what will be published.")
    locked.full_clean(exclude=["live"])
    check(locked, locked.tenant_id)
    listed = manifest(locked)
    newest = Version.objects.filter(tool=locked).aggregate(newest=Max("number"))["newest"] or 0
    version = Version.objects.create(
        **{name: getattr(locked, name) for name in DEFINED},
        tenant_id=locked.tenant_id,
        tool=locked,
        number=newest + 1,
        manifest=listed,
        manifest_hash=manifest_hash(listed),
        published_by=actor,
    )
    return _make_live(tool, version, actor=actor, verb="published")


@transaction.atomic
def roll_back(tool: Tool, to: Version, *, actor: User) -> Version:
    """Make an earlier version live again. The draft stays as it is."""
    if to.tool_id != tool.pk:
        raise ValidationError(f"{to} is not a version of {tool}.")
    Tool.objects.select_for_update().get(pk=tool.pk)
    return _make_live(tool, to, actor=actor, verb="rolled back")


def _make_live(tool: Tool, version: Version, *, actor: User, verb: str) -> Version:
    before = Version.objects.filter(tool=tool, pk=Tool.objects.values("live").get(pk=tool.pk)["live"]).first()
    Tool.objects.filter(pk=tool.pk).update(live=version)
    # Asked after the update, which makes publishers of one tenant wait for each other.
    if other := Tool.objects.filter(tenant_id=tool.tenant_id, live__name=version.name).exclude(pk=tool.pk).first():
        raise ValidationError(
            f"Hosts know another tool as {version.name!r}: the live version of {other.name}. Rename one of the two."
        )
    tool.live = version
    changes.record(
        tenant_id=tool.tenant_id,
        actor=actor.username,
        verb=verb,
        subject=tool,
        before={"version": before.number, "manifest_hash": before.manifest_hash} if before else None,
        after={"version": version.number, "manifest_hash": version.manifest_hash},
    )
    return version


@transaction.atomic
def remove_draft(tool: Tool, *, actor: User) -> None:
    """Delete a tool that was never published; published versions stay for the ledger's sake."""
    check_never_published(tool)
    tenant_actions.remove(tool, actor=actor.username)


def check_never_published(tool: Tool) -> None:
    """Raise ValidationError when a tool has versions."""
    if Version.objects.filter(tool=tool).exists():
        raise ValidationError(f"{tool.name} was published, and the ledger speaks of its versions. Disable it instead.")


@transaction.atomic
def set_enabled(tool: Tool, enabled: bool, *, actor: User) -> None:
    """Show a tool to hosts, or let it vanish from the next request on."""
    moved = Tool.objects.filter(pk=tool.pk, enabled=not enabled).update(enabled=enabled)
    tool.enabled = enabled
    if moved:
        changes.record(
            tenant_id=tool.tenant_id,
            actor=actor.username,
            verb="enabled" if enabled else "disabled",
            subject=tool,
        )


@transaction.atomic
def save_connection(connection: Connection, *, actor: User, new_secret: str = "") -> None:
    """Store a connection, and seal a new secret for it when one is given.

    Raises ValidationError when the kept secret would go elsewhere, or a private host is not the actor's to list.
    """
    if not new_secret:
        check_secret_stays(connection)
    if not actor.is_superuser:
        check_private_hosts(connection)
    tenant_actions.save(connection, actor=actor.username)
    if new_secret:
        set_secret(connection, new_secret, actor=actor)


@transaction.atomic
def set_secret(connection: Connection, secret: str, *, actor: User) -> None:
    """Seal a new secret for a connection; an empty one removes it. It can be used from then on, never read."""
    connection.secret = seal.seal(secret) if secret else None
    connection.save(update_fields=["secret"])
    changes.record(
        tenant_id=connection.tenant_id,
        actor=actor.username,
        verb="set the secret of" if secret else "removed the secret of",
        subject=connection,
    )


def check_secret_stays(connection: Connection) -> None:
    """Raise ValidationError when a secret that is set would be sent to another origin, or in another way, than before.

    Whoever sets a secret shows it to one upstream. Who may edit the connection must not have it sent to theirs.
    """
    kept = Connection.objects.select_for_update().filter(pk=connection.pk).first()
    if kept is not None and kept.secret and _destination(kept) != _destination(connection):
        raise ValidationError(
            {
                "new_secret": "Give the secret anew: it was set for "
                f"{_origin(kept.base_url)}, and this change would send it elsewhere or in another way."
            }
        )


def _destination(connection: Connection) -> tuple[str, str, str]:
    """Where the secret goes (RFC 6454 section 4, the origin) and in what. Header names have no case."""
    return _origin(connection.base_url), connection.auth, connection.auth_name.lower()


def _origin(url: str) -> str:
    try:
        return str(URL(url).origin())
    except ValueError:
        return url


def check_private_hosts(connection: Connection) -> None:
    """Raise ValidationError for a private host that is neither within ALLOWED_PRIVATE_HOSTS nor listed before."""
    kept = Connection.objects.filter(pk=connection.pk).values_list("allow_hosts", flat=True).first() or []
    permitted: list[str] = settings.ALLOWED_PRIVATE_HOSTS
    if "*" in permitted:
        return
    if beyond := [host for host in connection.allow_hosts if host not in kept and not _is_within(host, permitted)]:
        raise ValidationError(
            {
                "allow_hosts": f"Not yours to list: {', '.join(beyond)}. "
                f"Allowed on this hub: {', '.join(permitted) or 'no private host'}. Platform staff can list others, "
                "and whoever runs the hub changes what is allowed with ALLOWED_PRIVATE_HOSTS."
            }
        )


def _is_within(host: str, permitted: Iterable[str]) -> bool:
    """Whether an entry of `allow_hosts` opens nothing that these do not open."""
    wanted, bound = allowance_of(frozenset([host])), allowance_of(frozenset(permitted))
    return (
        all((name, None) in bound.names or (name, port) in bound.names for name, port in wanted.names)
        and all(
            (address, None) in bound.addresses
            or (address, port) in bound.addresses
            or any(address in network for network in bound.networks)
            for address, port in wanted.addresses
        )
        and all(
            any(inner.version == outer.version and inner.subnet_of(outer) for outer in bound.networks)  # type: ignore[arg-type]
            for inner in wanted.networks
        )
    )
