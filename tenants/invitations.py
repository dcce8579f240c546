"""Invitations: made by those who manage a tenant, followed by anybody who has the link, accepted once."""

import datetime
import hashlib
import secrets
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.db import connection, transaction
from django.http import HttpRequest
from django.utils import timezone

from audit import changes
from lib import db
from tenants import actions, queries
from tenants.models import Invitation, Member, Role, Tenant, User

LIFETIME = datetime.timedelta(days=7)

_KEPT = "invitation"
"""Where a session keeps the digest of the invitation that was followed in it; the secret itself is not kept."""

_RANK = {Role.USER: 0, Role.AUDITOR: 1, Role.APPROVER: 1, Role.ADMIN: 2, Role.OWNER: 3}


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """What an open invitation offers, as strangers may read it."""

    id: int
    tenant_id: int
    tenant: str
    slug: str
    role: str
    inviter: str

    @property
    def role_label(self) -> str:
        return str(Role(self.role).label)


class Switched(Exception):
    """The person's membership was switched off; an invitation does not switch it on again."""


def may_invite(member: Member | None, user: User, role: str) -> bool:
    """Whether a user, with this membership of the tenant or none, may offer a role: owners any, admins the lesser."""
    if not user.is_active:
        return False
    if user.is_superuser:
        return True
    if member is None or not member.active:
        return False
    return member.role == Role.OWNER or (member.role == Role.ADMIN and role not in queries.PRIVILEGED)


@transaction.atomic
def invite(tenant: Tenant, *, role: str, email: str, actor: User) -> tuple[Invitation, str]:
    """A new invitation and the address that accepts it, which is shown this once.

    email: where it is sent to when the hub sends mail, or empty. Raises ValidationError when the actor may not give
    away that role.
    """
    if not may_invite(_membership(tenant.pk, actor), actor, role):
        raise ValidationError({"role": "Only an owner can invite an owner or an admin."})
    secret = secrets.token_urlsafe(32)
    invitation = Invitation(
        tenant=tenant,
        email=email,
        role=role,
        digest=digest_of(secret),
        invited_by=actor,
        expires_at=timezone.now() + LIFETIME,
    )
    invitation.full_clean(exclude=["digest"])
    invitation.save()
    _record(invitation, actor.username, "invited", after=True)
    link = f"{settings.BASE_URL}/join/{secret}"
    if email and settings.SENDS_MAIL:
        transaction.on_commit(lambda: _mail(invitation, link), robust=True)
    return invitation, link


@transaction.atomic
def revoke(invitation: Invitation, *, actor: str) -> bool:
    """Make the link worthless; False when it was accepted or revoked before."""
    waiting = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None)
    if not waiting.update(revoked_at=timezone.now()):
        return False
    _record(invitation, actor, "revoked")
    return True


def look_up(digest: str) -> Offer | None:
    """The open invitation with this digest; None for one that is wrong, used, revoked or expired, whichever it is."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, tenant_id, tenant, slug, role, inviter FROM tenants_invited(%s)", [digest])
        row = cursor.fetchone()
    if row is None:
        return None
    names = ("id", "tenant_id", "tenant", "slug", "role", "inviter")
    return Offer(**dict(zip(names, row, strict=True)))


def accept(digest: str, user: User) -> Offer | None:
    """Make the user a member as offered; None when the invitation is not open any more.

    Whoever is a member already keeps a role that is as high. Raises Switched for an inactive member; the invitation
    stays open then.
    """
    offer = look_up(digest)
    if offer is None:
        return None
    with db.tenant_scope([offer.tenant_id]):
        invitation = Invitation.objects.select_for_update(of=["self"]).select_related("invited_by").get(pk=offer.id)
        member = _membership(offer.tenant_id, user)
        if not _stands(invitation):
            return None
        if member is not None and not member.active:
            raise Switched
        invitation.accepted_at, invitation.accepted_by = timezone.now(), user
        invitation.save(update_fields=["accepted_at", "accepted_by"])
        _record(invitation, user.username, "accepted")
        if member is None or _RANK[Role(member.role)] < _RANK[Role(invitation.role)]:
            actions.add_member(invitation.tenant, user, role=Role(invitation.role), actor=user.username)
    return offer


def _stands(invitation: Invitation) -> bool:
    """Whether it is still open, and whoever made it could make it now; the row is locked."""
    inviter = invitation.invited_by
    if invitation.state != "open" or inviter is None:
        return False
    return may_invite(_membership(invitation.tenant_id, inviter), inviter, invitation.role)


def _membership(tenant_id: int, user: User) -> Member | None:
    return Member.objects.filter(tenant_id=tenant_id, user=user).first()


def _record(invitation: Invitation, actor: str, verb: str, *, after: bool = False) -> None:
    changes.record(
        tenant_id=invitation.tenant_id,
        actor=actor,
        verb=verb,
        subject=invitation,
        after=changes.snapshot(invitation) if after else None,
        note="" if after else f"as {invitation.role}",
    )


def _mail(invitation: Invitation, link: str) -> None:
    inviter = invitation.invited_by.username if invitation.invited_by else "Somebody"
    lines = [
        f"{inviter} invites you to {invitation.tenant.name} on the MCP hub at {settings.BASE_URL}.",
        f"To accept, open this address. It works once, until {invitation.expires_at:%Y-%m-%d %H:%M} UTC:",
        link,
        "If you did not expect this, do nothing: nothing happens without you.",
    ]
    subject = f"Invitation to {invitation.tenant.name}".replace("\n", " ").replace("\r", " ")
    send_mail(subject, "\n\n".join(lines), None, [invitation.email])


def digest_of(secret: str) -> str:
    """What is kept of an invitation's secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def keep(request: HttpRequest, secret: str) -> Offer | None:
    """Remember in the session which invitation was followed; None for one that opens nothing."""
    digest = digest_of(secret)
    offer = look_up(digest)
    if offer is not None:
        request.session[_KEPT] = digest
    return offer


def kept_in(request: HttpRequest) -> Offer | None:
    """The invitation followed in this session, while it is open."""
    digest = request.session.get(_KEPT)
    return look_up(digest) if digest else None


def accept_kept(request: HttpRequest, user: User) -> Offer | None:
    """Accept the invitation followed in this session, as `accept` does, and forget it."""
    offer = accept(request.session.get(_KEPT, ""), user)
    request.session.pop(_KEPT, None)
    return offer
