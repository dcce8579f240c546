"""Two people, where a tenant asks for that: one proposes what is to be live of a tool, another one makes it so."""

import datetime
from collections.abc import Collection
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit import changes
from tenants.models import Tenant, User
from tools.models import Tool


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """How far something is on its way. by: the name of who proposed it; empty while nobody did. why_not: why the reader
    cannot be the second person; empty when they can."""

    by: str
    at: datetime.datetime | None
    why_not: str


def needed(tenant_id: int) -> bool:
    """Whether the tenant asks for a second person, now."""
    return Tenant.objects.filter(pk=tenant_id, second_publisher=True).exists()


def proposal(tool: Tool, digest: str, reader: User, *, writers: Collection[int]) -> Proposal | None:
    """How far what has this digest is; None where the tenant does not ask for a second person.

    writers: ids of those who wrote it, who are as little a second person as who proposed it.
    """
    if not needed(tool.tenant_id):
        return None
    if not _is_proposed(tool, digest):
        return Proposal(by="", at=None, why_not=_unproposed(tool))
    by = tool.proposed_by.username if tool.proposed_by is not None else "somebody who is gone"
    return Proposal(by=by, at=tool.proposed_at, why_not=_why_not(tool, reader, writers))


def check(tool: Tool, digest: str, actor: User, *, writers: Collection[int]) -> None:
    """Raise ValidationError when the tenant asks for a second person and the actor is not one for this."""
    found = proposal(tool, digest, actor, writers=writers)
    if found is not None and found.why_not:
        raise ValidationError(found.why_not)


@transaction.atomic
def propose(tool: Tool, digest: str, what: str, *, actor: User) -> None:
    """Put something forward for another person to make live. It stands until the draft changes, or another is made.

    digest, what: of the draft or of an earlier version, and what people call it. Raises ValidationError when the same
    is proposed already.
    """
    locked = Tool.objects.select_for_update(of=("self",)).select_related("proposed_by").get(pk=tool.pk)
    if _is_proposed(locked, digest):
        raise ValidationError(f"{what} is proposed already. Somebody else has to look at it.")
    locked.proposed_by, locked.proposed_digest, locked.proposed_at = actor, digest, timezone.now()
    locked.save(update_fields=[*PROPOSED])
    changes.record(
        tenant_id=tool.tenant_id, actor=actor.username, verb="proposed", subject=tool, note=f"{what}, {digest[:16]}"
    )


PROPOSED = ("proposed_by", "proposed_digest", "proposed_at")


def wrote(tool: Tool, actor: User) -> None:
    """Note on a row that is about to be stored who changed what would be live, and forget what was proposed."""
    tool.writers = sorted({*tool.writers, actor.pk})
    settle(tool)


def settle(tool: Tool) -> None:
    """The same of a proposal that is over."""
    tool.proposed_by, tool.proposed_digest, tool.proposed_at = None, "", None


def moved(tools: QuerySet[Tool], actor: User) -> None:
    """Note the same for drafts whose connection somebody leads elsewhere."""
    for tool in tools.select_for_update(of=("self",)).order_by("pk"):
        wrote(tool, actor)
        tool.save(update_fields=["writers", *PROPOSED])


def _is_proposed(tool: Tool, digest: str) -> bool:
    return tool.proposed_digest != "" and tool.proposed_digest == digest


def _unproposed(tool: Tool) -> str:
    return f"{tool.tenant.name} asks for a second person. Propose it, and let somebody else look at it and publish it."


def _why_not(tool: Tool, reader: User, writers: Collection[int]) -> str:
    if tool.proposed_by_id == reader.pk:
        return f"You proposed it, and {tool.tenant.name} asks for a second person to publish it."
    if reader.pk in writers:
        return f"You wrote at it since it was last published, and {tool.tenant.name} asks for a second person."
    return ""
