"""Writing to people about requests: to admins that one came or was put forward, to who asked what was answered.

A mail names the tool, the people and the page, and what an admin answered; never why it was asked for.
"""

from collections.abc import Iterable

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import transaction

from policy.models import AccessRequest
from tenants import addresses
from tenants import queries as tenant_queries
from tenants.models import Member, Tenant, User

MOST_READERS = 50
"""People that a mail goes to at the most."""


def to_admins(request: AccessRequest) -> None:
    """That somebody asks."""
    team, asker = request.tenant, request.member.user.username
    _mail(
        _admins(team),
        f"{asker} asks for {request.tool} in {team.name}",
        f"{asker} asks for access to {request.tool} in {team.name}, which the rule “{request.rule}” refuses. "
        f"Read why, and answer: {settings.BASE_URL}/admin/policy/accessrequest/{request.pk}/change/",
    )


def to_seconds(request: AccessRequest, actor: User) -> None:
    """That the actor would grant it, and somebody else has to publish that."""
    team, asker = request.tenant, request.member.user
    page = f"{settings.BASE_URL}/admin/policy/rule/publish/?tenant={team.pk}"
    _mail(
        [reader for reader in _admins(team) if reader not in (actor.email, asker.email)],
        f"{actor.username} puts forward {request.tool} for {asker.username} in {team.name}",
        f"{actor.username} would let {asker.username} use {request.tool} in {team.name}, which asks for a second "
        f"person. The rule is in the draft. Look at it: {page}",
    )


def to_asker(request: AccessRequest) -> None:
    """What was answered."""
    team = request.tenant
    granted = request.state == AccessRequest.State.GRANTED
    said = f"until {request.until:%Y-%m-%d %H:%M} UTC" if request.until and granted else ""
    word = "You may use" if granted else "You may not use"
    _mail(
        [request.member.user.email],
        f"{word} {request.tool} in {team.name}",
        f"{word} {request.tool} in {team.name} {said}".strip()
        + f". {request.answer}".rstrip()
        + f"\n\n{addresses.asking(team.slug, request.tool)}",
    )


def _admins(tenant: Tenant) -> list[str]:
    members = Member.objects.filter(tenant=tenant, active=True, user__is_active=True, role__in=tenant_queries.MANAGERS)
    return list(members.order_by("pk").values_list("user__email", flat=True)[:MOST_READERS])


def _mail(readers: Iterable[str], subject: str, says: str) -> None:
    """One to each, once this is committed; nothing where the hub has no mail server."""
    line = " ".join(f"[mcphub] {subject}".split())
    letters = [EmailMessage(line, says, None, [reader]) for reader in readers if reader]
    if settings.SENDS_MAIL and letters:
        transaction.on_commit(lambda: get_connection().send_messages(letters))
