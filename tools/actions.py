"""Writing tools and connections, as verbs. Each is one transaction with its ledger entry."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max
from pydantic import ValidationError as ConfigError

from audit import changes
from lib import seal
from lib.fetch import allowance_of
from lib.schema import SchemaError, compile_schema
from tenants import actions as tenant_actions
from tenants.models import Scope, User
from tools import proposals
from tools.cleaning import Cleaning
from tools.kinds import KINDS, parse_config
from tools.kinds.http_config import only_called_back
from tools.manifest import destination_of, encoded, is_led_elsewhere, manifest, manifest_hash, origin_of
from tools.models import Connection, Definition, Runs, Tool, Version
from tools.scan import Finding, findings, stopping
from tools.vocabulary import RESERVED

LONGEST_WHILE_WAITING = 3600
"""Seconds that a call may take while its host waits; a job may take a day."""
DEFINED = tuple(field.name for field in Definition._meta.get_fields())
"""The fields that a draft and a version share."""


class DraftChanged(ValidationError):
    """The draft is no longer the one that was reviewed."""


def values(definition: Definition) -> dict[str, Any]:
    """A definition's fields as plain values, the connection by its name, and where calls go: of a version when it was
    published, unless it is one of old, which kept no destination."""
    found = {name: getattr(definition, name) for name in DEFINED}
    return {
        **found,
        "connection": definition.connection.name if definition.connection else None,
        "destination": getattr(definition, "destination", "") or destination_of(definition),
    }


def digest(definition: Definition) -> str:
    """Of everything that publishing would freeze."""
    frozen = {**values(definition), "connection": definition.connection_id}
    return hashlib.sha256(encoded(frozen, sort=True)).hexdigest()


def check(definition: Definition, tenant_id: int) -> None:
    """Raise ValidationError with a sentence per field for everything that would keep the draft from running."""
    errors: dict[str, Any] = {}
    for name in ("input_schema", "output_schema", "config", "cleaning"):
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
    errors = _clean_errors(definition) | errors
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


def _clean_errors(definition: Definition) -> dict[str, Any]:
    try:
        Cleaning.model_validate(definition.cleaning)
    except ConfigError as problem:
        found = problem.errors(include_url=False, include_input=False)
        return {"cleaning": [f"{'.'.join(map(str, one['loc'])) or 'cleaning'}: {one['msg']}" for one in found]}
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
    locked = _reviewed(tool, reviewed)
    locked.full_clean(exclude=["live"])
    check(locked, locked.tenant_id)
    check_scan(findings(locked), locked.tenant.scan_stops)
    proposals.check(locked, digest(locked), actor, writers=locked.writers)
    version = _make_live(tool, _frozen(locked, locked, actor), actor=actor, verb="published")
    Tool.objects.filter(pk=tool.pk).update(writers=[])
    return version


@transaction.atomic
def propose(tool: Tool, *, actor: User, reviewed: str) -> None:
    """Put the draft forward for another person to publish. Raises as `publish` does."""
    locked = _reviewed(tool, reviewed)
    locked.full_clean(exclude=["live"])
    check(locked, locked.tenant_id)
    check_scan(findings(locked), locked.tenant.scan_stops)
    proposals.propose(locked, digest(locked), f"The draft of {locked.name}", actor=actor)


def _reviewed(tool: Tool, seen: str | None) -> Tool:
    """The tool as it is, locked; raises DraftChanged when its draft is not what somebody has seen."""
    locked = Tool.objects.select_for_update().get(pk=tool.pk)
    if seen is not None and seen != digest(locked):
        raise DraftChanged("The draft changed after this page was shown. Look again at what will be published.")
    return locked


@transaction.atomic
def save_tool(tool: Tool, *, actor: User) -> bool:
    """Store a draft, new or changed; False when nothing differs. Whatever was proposed is so no more."""
    kept = Tool.objects.select_for_update().filter(pk=tool.pk).first() if tool.pk else None
    if kept is not None:
        # What is no part of the draft is as it is, also when somebody else has just changed it.
        tool.live, tool.enabled, tool.writers = kept.live, kept.enabled, kept.writers
    proposals.wrote(tool, actor)
    return tenant_actions.save(tool, actor=actor.username)


def check_scan(found: Sequence[Finding], level: str) -> None:
    """Raise ValidationError with a sentence per finding that keeps a tool from being published. There is no way round
    it but to lower the tenant's level, which the ledger keeps."""
    if found := stopping(found, level):
        raise ValidationError(
            [f"The scan stops it, in {one.where}: {one.message} {one.remedy} Found: {one.quote}" for one in found]
        )


def _frozen(tool: Tool, definition: Definition, actor: User) -> Version:
    """The next version of a tool, as it is defined there."""
    listed, destination = manifest(definition), destination_of(definition)
    newest = Version.objects.filter(tool=tool).aggregate(newest=Max("number"))["newest"] or 0
    return Version.objects.create(
        **{name: getattr(definition, name) for name in DEFINED},
        tenant_id=tool.tenant_id,
        tool=tool,
        number=newest + 1,
        manifest=listed,
        manifest_hash=manifest_hash(listed, scopes=definition.scopes, destination=destination),
        destination=destination,
        published_by=actor,
    )


@transaction.atomic
def follow(connection: Connection, *, actor: User) -> None:
    """Publish anew, as they are, the live versions whose connection leads elsewhere since: for whoever runs the hub and
    moved an upstream of its own. Everybody else publishes drafts, after looking at them; so does everybody of a tenant
    that asks for a second person."""
    if proposals.needed(connection.tenant_id):
        return
    for tool in Tool.objects.select_for_update(of=("self",)).filter(live__connection=connection):
        if tool.live is not None and is_led_elsewhere(tool.live):
            _make_live(tool, _frozen(tool, tool.live, actor), actor=actor, verb="published")


@transaction.atomic
def roll_back(tool: Tool, to: Version, *, actor: User) -> Version:
    """Make an earlier version live again. The draft stays as it is."""
    _check_offerable(tool, to)
    locked = Tool.objects.select_for_update().get(pk=tool.pk)
    proposals.check(locked, digest(to), actor, writers=())
    return _make_live(tool, to, actor=actor, verb="rolled back")


@transaction.atomic
def propose_roll_back(tool: Tool, to: Version, *, actor: User) -> None:
    """Put an earlier version forward for another person to make live again. Raises as `roll_back` does."""
    _check_offerable(tool, to)
    proposals.propose(tool, digest(to), f"Version {to.number}", actor=actor)


def _check_offerable(tool: Tool, to: Version) -> None:
    if to.tool_id != tool.pk:
        raise ValidationError(f"{to} is not a version of {tool}.")
    if is_led_elsewhere(to):
        raise ValidationError(
            f"{to} led to {to.destination}, and its connection leads elsewhere since. Publish the draft anew."
        )


def _make_live(tool: Tool, version: Version, *, actor: User, verb: str) -> Version:
    before = Version.objects.filter(tool=tool, pk=Tool.objects.values("live").get(pk=tool.pk)["live"]).first()
    Tool.objects.filter(pk=tool.pk).update(live=version, proposed_by=None, proposed_digest="", proposed_at=None)
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

    Raises ValidationError when the kept secret would go elsewhere, a private host is not the actor's to list, or live
    tools would go elsewhere without a second person.
    """
    if not new_secret:
        check_secret_stays(connection)
    if not actor.is_superuser:
        check_private_hosts(connection)
    check_move(connection)
    if _moves(connection):
        proposals.moved(Tool.objects.filter(connection_id=connection.pk), actor)
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
                f"{origin_of(kept.base_url)}, and this change would send it elsewhere or in another way."
            }
        )


def check_move(connection: Connection) -> None:
    """Raise ValidationError when live tools would go elsewhere without the second person that the tenant asks for.

    Versions that know where they led stop at a move until they are published anew, by two people; those of old do not.
    """
    if not _moves(connection) or not proposals.needed(connection.tenant_id):
        return
    through = Tool.objects.filter(enabled=True, live__connection_id=connection.pk, live__destination="")
    if names := sorted(through.values_list("live__name", flat=True)):
        raise ValidationError(
            {"base_url": f"Publish {', '.join(names)} anew first: published long ago, they would just go elsewhere."}
        )


def _moves(connection: Connection) -> bool:
    kept = Connection.objects.filter(pk=connection.pk).values_list("base_url", flat=True).first()
    return kept is not None and origin_of(kept) != origin_of(connection.base_url)


def _destination(connection: Connection) -> tuple[str, str, str]:
    """Where the secret goes (RFC 6454 section 4, the origin) and in what. Header names have no case."""
    return origin_of(connection.base_url), connection.auth, connection.auth_name.lower()


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
