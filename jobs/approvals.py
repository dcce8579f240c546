"""Deciding on held calls, as verbs. Each is one transaction with its ledger entry.

They answer None when it was done, or the Refusal that says why not. The job's row is the one arbiter between reviewers,
owners, the caller and the clock (`jobs_decide`), so that a job is released once at the most. What is approved is what
was seen: this version of the tool, these arguments, for this caller as they stand now.
"""

import hmac
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from access.models import Consent
from access.standing import asked
from audit import entries
from audit.models import Entry, Event
from jobs import hooks, wake
from jobs.models import Approval, Job, Note, State
from jobs.sealed import unseal_arguments
from lib import redact
from lib.seal import SealError
from policy.values import Refusal
from tenants.models import Member, Role, User

LEAST_REASON = 10
"""Characters of the reason for which an owner releases a call alone."""
MOST_SAID = 500
MOST_NOTE = 1000
MOST_NOTES = 50
"""Questions and answers about one call."""
_WROTE = ("issued", "created", "changed", "rotated")
"""What the ledger says of who wrote a credential, and so may have what it opens with."""
_ANY_ISSUER = "access.OutsideIssuer:"


def reviewers(approval: Approval) -> QuerySet[Member]:
    """Who may decide now: active members with the role, or in a group, that the rule names, as they were already when
    it was held; never the caller's own person, with whatever credential."""
    named = Q(role__in=approval.roles) | Q(groups__name__in=approval.groups, groups__tenant_id=approval.tenant_id)
    active = Member.objects.filter(tenant_id=approval.tenant_id, active=True, user__is_active=True)
    return active.filter(named, pk__in=approval.reviewers).exclude(user_id=approval.member.user_id).distinct()


def owners(approval: Approval) -> QuerySet[Member]:
    """The active owners of its tenant."""
    return Member.objects.filter(
        tenant_id=approval.tenant_id, role=Role.OWNER, active=True, user__is_active=True
    ).select_related("user")


def releasers(approval: Approval) -> QuerySet[Member]:
    """Who may break the glass now: active owners who were owners already when it was held."""
    return owners(approval).filter(pk__in=approval.owners)


def why_not(approval: Approval, user: User) -> Refusal | None:
    """Why this person may not decide on it, whether or not it still waits."""
    if approval.member.user_id == user.pk:
        return _refusal("own_call", "This call was made for you. Somebody else has to decide.")
    if not reviewers(approval).filter(user=user).exists():
        return _refusal("not_a_reviewer", "Its rule names others to decide, or did when it was held.")
    if _wrote_credential(approval, user):
        says = "You made or changed the credential that this call came with. Somebody else has to decide."
        return _refusal("own_call", says)
    return None


@transaction.atomic
def approve(approval: Approval, *, actor: User, seen_digest: str) -> Refusal | None:
    """Release exactly the call that was seen. One whose tool, caller or arguments are no longer what they were when it
    was held is withdrawn instead."""
    refusal = why_not(approval, actor) or _as_seen(approval, seen_digest) or _void(approval)
    return refusal or _decide(approval, "approved", actor, said="")


@transaction.atomic
def deny(approval: Approval, *, actor: User, reason: str) -> Refusal | None:
    """End the job unrun. The reason is told to the caller and the model."""
    said = _line(reason, MOST_SAID)
    if not said:
        return _refusal("no_reason", "Say why, so that whoever asked knows what to do instead.")
    return why_not(approval, actor) or _decide(approval, "denied", actor, said=said, why="approval_denied")


@transaction.atomic
def break_glass(approval: Approval, *, actor: User, reason: str) -> Refusal | None:
    """Release it without a reviewer. For owners alone, who were owners when it was held, also for a call of their own;
    all owners and all hooks are told, and the ledger keeps the reason."""
    said = _line(reason, MOST_SAID)
    if not releasers(approval).filter(user=actor).exists():
        says = "Only an owner of the tenant, who was one when it was held, can release a call without a reviewer."
        return _refusal("not_an_owner", says)
    if len(said) < LEAST_REASON:
        return _refusal("no_reason", "Say in a sentence why this cannot wait for a reviewer.")
    return _void(approval) or _decide(approval, "broken", actor, said=said)


@transaction.atomic
def ask(approval: Approval, *, actor: User, text: str) -> Refusal | None:
    """Ask the caller's person something about it; they answer on the job's page."""
    return why_not(approval, actor) or _note(approval, Event.QUERIED, actor, text)


@transaction.atomic
def answer(approval: Approval, *, actor: User, text: str) -> Refusal | None:
    """Tell the reviewers something; for the caller's own person."""
    own = Member.objects.filter(pk=approval.member_id, user=actor, active=True, user__is_active=True)
    if not own.exists():
        return _refusal("not_allowed", "Only whose call it is answers its reviewers.")
    return _note(approval, Event.REPLIED, actor, text)


def intact(approval: Approval) -> dict[str, Any] | None:
    """The arguments that would be run, when they are what was asked to be approved; None when they are not."""
    sealed = Job.objects.filter(pk=approval.job_id).values_list("arguments", flat=True).first()
    try:
        arguments = unseal_arguments(sealed or b"")
    except SealError:
        return None
    found = entries.digest([approval.manifest_hash, arguments])
    return arguments if hmac.compare_digest(found, approval.digest) else None


def is_offered(approval: Approval) -> bool:
    """Whether the very version that it is about is still what its tool offers. One that was published since may differ
    in what no model sees, such as where it goes."""
    tool = approval.job.version.tool
    return tool.enabled and tool.live_id == approval.job.version_id


def leads_there(approval: Approval) -> bool:
    """Whether the tool still goes where it went when it was held."""
    connection = approval.job.version.connection
    return approval.destination == (connection.base_url if connection else "")


def _as_seen(approval: Approval, seen_digest: str) -> Refusal | None:
    if hmac.compare_digest(seen_digest.encode(), approval.digest.encode()):
        return None
    return _refusal("not_as_seen", "What you saw is not what this call would do. Look at it again.")


def _void(approval: Approval) -> Refusal | None:
    """Withdraw what may not be released by anybody any more, and say why."""
    if not is_offered(approval):
        why, says = "tool_changed", "The tool was published anew or taken away since, so the call was withdrawn."
    elif not leads_there(approval):
        why, says = "destination_changed", "The tool leads elsewhere than when it was called, so it was withdrawn."
    elif intact(approval) is None:
        why, says = "arguments_lost", "Its arguments are not those that were held, so it was withdrawn."
    elif not _stands(approval):
        why, says = "standing_lost", "Its caller may no longer use the tool, so it was withdrawn."
    else:
        return None
    done = _decided(approval, "void", None, "system", why=why, said="")
    return _refusal(why, says) if done else _over()


def _stands(approval: Approval) -> bool:
    """Whether the caller's member and credential still open what they did (`access.standing`)."""
    facts = asked(approval.tenant_id, approval.member_id, approval.job.credential)
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM access_standing(%s, %s, %s, %s))", facts)
        return bool(cursor.fetchone()[0])


def _write_soon(approval: Approval) -> None:
    """Have people be written to about it (`jobs.mails`), with all attempts before it."""
    Approval.objects.filter(pk=approval.pk).update(mail_due_at=timezone.now(), mail_attempts=0)


def _decide(approval: Approval, decision: str, actor: User, *, said: str, why: str = "") -> Refusal | None:
    if not _decided(approval, decision, actor.pk, actor.username, why=why, said=said):
        return _over()
    _write_soon(approval)
    if decision in hooks.DECISIONS:
        hooks.queue_decided(approval, decision)
    if decision != "denied":
        transaction.on_commit(wake.ring_now, robust=True)
    return None


def _decided(approval: Approval, decision: str, person: int | None, by: str, *, why: str, said: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT jobs_decide(%s, %s, %s, %s, %s, %s, %s)",
            [approval.job_id, approval.tenant_id, decision, person, by, why, said],
        )
        return bool(cursor.fetchone()[0])


def _note(approval: Approval, event: Event, actor: User, text: str) -> Refusal | None:
    said = _line(text, MOST_NOTE)
    if not said:
        return _refusal("no_text", "Write something first.")
    waiting = Job.objects.filter(pk=approval.job_id, state=State.APPROVAL)
    if not waiting.update(changed_at=timezone.now()):  # which also locks it, and shows it anew on its page
        return _over()
    if approval.notes.count() >= MOST_NOTES:
        return _refusal("too_many_notes", f"{MOST_NOTES} things were said about it, which is as many as may. Decide.")
    Note.objects.create(tenant_id=approval.tenant_id, approval=approval, author=actor, text=said)
    _write_soon(approval)
    entry = {
        "tenant_id": approval.tenant_id,
        "event": event,
        "call_id": str(approval.job_id),
        "instance_id": str(entries.instance()),
        "actor": actor.username,
        "via": "portal",
        "tool": approval.tool,
        "subject": f"job {approval.job_id}",
        "detail": {"by": actor.username, "said": said},
    }
    news = {"t": approval.tenant_id, "j": str(approval.job_id), "e": "state", "s": State.APPROVAL}
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_append(%s::jsonb)", [orjson.dumps([entry]).decode()])
        cursor.execute("SELECT pg_notify('mcphub', %s)", [orjson.dumps(news).decode()])
    return None


def _wrote_credential(approval: Approval, user: User) -> bool:
    """Whether this person, before or since, made or changed what the call came with, and so could have made it: its
    key, its machine, or the outside issuer, which says who everybody is."""
    sort, _, number = approval.job.credential.partition(":")
    if sort == "app":
        sort, number = "client", str(Consent.objects.filter(pk=number).values_list("client_id", flat=True).first())
    subjects = {"key": f"access.APIKey:{number} ", "client": f"access.Client:{number} ", "outside": _ANY_ISSUER}
    if sort not in subjects:
        return False
    written = Entry.objects.filter(
        tenant_id=approval.tenant_id,
        event=Event.CHANGED,
        actor=user.username,
        reason__in=_WROTE,
        subject__startswith=subjects[sort],
    )
    return written.exists()


def _line(text: str, most: int) -> str:
    """What a person wrote, for rows that are shown and kept: without secrets, and bounded."""
    return redact.secrets(" ".join(text.split()))[:most]


def _over() -> Refusal:
    return _refusal("already_decided", "It was decided, withdrawn or ran out before you did.")


def _refusal(reason: str, message: str) -> Refusal:
    return Refusal(reason=reason, message=message)
