"""Writing tools and connections, as verbs. Each is one transaction with its ledger entry."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max
from pydantic import ValidationError as ConfigError

from audit import changes
from lib import seal
from lib.schema import SchemaError, compile_schema
from tenants import actions as tenant_actions
from tenants.models import Scope, User
from tools.kinds import KINDS, parse_config
from tools.manifest import manifest, manifest_hash
from tools.models import Connection, Definition, Tool, Version

DEFINED = tuple(field.name for field in Definition._meta.get_fields())
"""The fields that a draft and a version share."""


def check(definition: Definition, tenant_id: int) -> None:
    """Raise ValidationError with a sentence per field for everything that would keep the draft from running."""
    errors: dict[str, Any] = {}
    for name in ("input_schema", "output_schema"):
        schema = getattr(definition, name)
        if schema is None and name == "output_schema":
            continue
        try:
            compile_schema(schema)
        except SchemaError as problem:
            errors[name] = str(problem)
    if not isinstance(definition.input_schema, dict) or definition.input_schema.get("type") != "object":
        errors.setdefault("input_schema", 'MCP asks for an object at the top: add "type": "object".')
    errors |= _kind_errors(definition) | _scope_errors(definition, tenant_id)
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


def _scope_errors(definition: Definition, tenant_id: int) -> dict[str, Any]:
    known = set(Scope.objects.filter(tenant_id=tenant_id).values_list("name", flat=True))
    if missing := sorted(set(definition.scopes) - known):
        return {"scopes": f"Not a scope of this tenant: {', '.join(missing)}. There are: {', '.join(sorted(known))}."}
    return {}


@transaction.atomic
def publish(tool: Tool, *, actor: User) -> Version:
    """Freeze the draft as a new version and make it live. Raises ValidationError when it could not run."""
    locked = Tool.objects.select_for_update().get(pk=tool.pk)
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
    """Store a connection, and seal a new secret for it when one is given."""
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
