"""Writing to people about held calls: to reviewers that one waits, to the two sides of a question, to whom it was made
for what was decided, to all owners that one was released without a reviewer.

A mail names the tool, the caller and the page; never an argument, nor anything that a model wrote.
"""

import asyncio
import logging
import smtplib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.smtp import EmailBackend
from django.db import OperationalError, connections
from django.db.models import QuerySet
from django.utils import timezone

from jobs.approvals import owners, reviewers
from jobs.brief import sentence
from jobs.models import Approval, Note
from lib import db

log = logging.getLogger(__name__)

BACKOFF = (30, 120, 600, 1800)
"""Seconds until the next attempt, after the first, the second, ...; after the last of these it is given up."""
MOST_READERS = 50
"""People that one mail goes to at the most."""
_AT_ONCE = 20
_TAKEN = 120.0
"""Seconds for which a mail belongs to the process that took it."""
_DECIDED = (Approval.State.APPROVED, Approval.State.DENIED)
_NEWS = timedelta(days=1)
"""For which a decision is still told; one from before there was a mail server is none."""
_OF_ONE_MAIL = (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError, smtplib.SMTPNotSupportedError, ValueError)
"""What is wrong with one mail or its reader's address, and not with the mail server."""


@dataclass(kw_only=True)
class _Post:
    """What is to be sent of one approval, and which rows say so once it is. due: when the next attempt was due as this
    was read; another by now is somebody else's."""

    due: datetime | None = None
    messages: list[EmailMessage] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    notes: list[int] = field(default_factory=list)


async def send_due() -> None:
    """Send what is due; on an event loop with the hub's lifespan. Without a mail server nothing is written to anybody:
    the inbox and the hooks say the same. Any number of processes may do so at once: each takes its own."""
    if not settings.SENDS_MAIL:
        return
    async with db.pooled() as conn:
        cursor = await conn.execute("SELECT approval, tenant, attempts FROM jobs_mails(%s, %s)", [_AT_ONCE, _TAKEN])
        taken = await cursor.fetchall()
    for approval, tenant, attempts in taken:
        await asyncio.to_thread(_attempt, approval, tenant, attempts)


def _attempt(approval_id: Any, tenant_id: int, attempts: int) -> None:
    """Read, send outside any transaction, write down. In a thread. What fails here is this approval's alone, and comes
    back; where it cannot be written down, when its time as taken is over."""
    try:
        post, delivered = _sent(approval_id, tenant_id, attempts)
        with db.tenant_scope([tenant_id]):
            _record(approval_id, attempts, post, delivered=delivered)
    except OperationalError:
        log.warning("mails about approval %s wait: Postgres cannot be reached", approval_id)
    except Exception:  # or it would keep the others that were taken with it
        log.exception("what became of the mails about approval %s is not known: they are sent again", approval_id)
    finally:
        connections.close_all()


def _sent(approval_id: Any, tenant_id: int, attempts: int) -> tuple[_Post, bool]:
    """What there was to send, and whether it was."""
    try:
        with db.tenant_scope([tenant_id]):
            approval = _approvals().filter(pk=approval_id, mail_attempts=attempts).exclude(mail_due_at=None).first()
            post = _post(approval) if approval is not None else _Post()
        return post, _send(post.messages)
    except OperationalError:
        raise
    except Exception:  # an attempt like any other, or it would be tried for ever
        log.exception("mails about approval %s could not be made", approval_id)
        return _Post(), False


def _approvals() -> QuerySet[Approval]:
    return Approval.objects.select_related("tenant", "member__user", "job__version", "decided_by")


def _post(approval: Approval) -> _Post:
    """What has not been said yet of this approval."""
    post, now, page = _Post(due=approval.mail_due_at), timezone.now(), f"{settings.BASE_URL}/approvals/{approval.pk}/"
    caller, team, tool = approval.member.user, approval.tenant.name, approval.tool
    waits = approval.state == Approval.State.WAITING
    if waits and approval.mailed_at is None:
        says = [
            f"{caller.username} wants to use {tool} in {team}: {sentence(approval.job.version)}",
            f"The rule “{approval.rule}” asks for a second person. It waits until "
            f"{approval.expires_at:%Y-%m-%d %H:%M} UTC and does not run before somebody approves it.",
            f"Look at it and decide: {page}",
        ]
        readers = (one.user.email for one in reviewers(approval).select_related("user")[:MOST_READERS])
        post.messages += _letters(readers, f"{tool} waits for approval in {team}", says)
        post.told["mailed_at"] = now
    if approval.broken and approval.owners_mailed_at is None:
        who = approval.decided_by.username if approval.decided_by else "Somebody"
        says = [
            f"{who} released a call of {tool} in {team} without a reviewer. It was made for {caller.username}.",
            f"The reason given: {approval.broken}",
            f"All of it is in the ledger, and here: {page}",
        ]
        readers = (one.user.email for one in owners(approval))
        post.messages += _letters(readers, f"{tool} was released without a reviewer in {team}", says)
        post.told["owners_mailed_at"] = now
    if approval.state in _DECIDED and approval.decided_at is not None and approval.decided_at > now - _NEWS:
        post.messages += _decided(approval)
    for note in approval.notes.filter(mailed_at=None).select_related("author") if waits else ():
        post.messages += _about(note, approval, page)
        post.notes.append(note.pk)
    return post


def _decided(approval: Approval) -> list[EmailMessage]:
    """What became of it, to the caller's person, unless they released it themselves."""
    caller, by, tool, team = approval.member.user, approval.decided_by, approval.tool, approval.tenant.name
    if caller == by or not (approval.member.active and caller.is_active):
        return []
    denied = approval.state == Approval.State.DENIED
    done = "denied" if denied else "released without a reviewer" if approval.broken else "approved"
    says = [
        f"{by.username if by else 'Somebody'} {done} the call of {tool} that was made for you in {team}."
        f" {'It does not run.' if denied else 'It runs now.'}",
        *([f"The reason given: {approval.reason}"] if approval.reason else []),
        f"What became of it: {settings.BASE_URL}/jobs/{approval.job_id}/",
    ]
    return _letters([caller.email], f"{tool} was {done} in {team}", says)


def _about(note: Note, approval: Approval, page: str) -> list[EmailMessage]:
    """That something was asked, to the caller's person; that it was answered, to who asked."""
    caller, team, tool = approval.member.user, approval.tenant.name, approval.tool
    who = note.author.username if note.author else "Somebody"
    if note.author_id == caller.pk:
        says = [f"{who} answered what was asked about {tool} in {team}.", f"Read it and decide: {page}"]
        asked = approval.notes.exclude(author_id=caller.pk).exclude(author=None)
        readers = [one.author.email for one in asked.select_related("author") if one.author]
        return _letters(dict.fromkeys(readers), f"An answer about {tool} in {team}", says)
    says = [
        f"{who} asks something about the call of {tool} that was made for you in {team}, before deciding on it.",
        f"Answer here: {settings.BASE_URL}/jobs/{approval.job_id}/",
    ]
    return _letters([caller.email], f"A question about {tool} in {team}", says)


def _letters(readers: Iterable[str], subject: str, says: list[str]) -> list[EmailMessage]:
    """One to each, so that nobody learns the others' addresses."""
    line = " ".join(f"[mcphub] {subject}".split())
    return [EmailMessage(line, "\n\n".join(says), None, [reader]) for reader in readers if reader]


def _send(messages: list[EmailMessage]) -> bool:
    """By SMTP itself and not by the hub's outbox, so that what fails is known here. False when the server failed, or
    nobody got any of it; who alone does not get theirs is passed over, or the others would get it again."""
    if not messages:
        return True
    server = EmailBackend()
    try:
        server.open()
        sent = [_send_one(server, message) for message in messages]
    except (OSError, smtplib.SMTPException) as problem:
        log.warning("mails about a held call wait: %s", type(problem).__name__)
        return False
    finally:
        server.close()
    return any(sent)


def _send_one(server: EmailBackend, message: EmailMessage) -> bool:
    try:
        server.send_messages([message])
    except _OF_ONE_MAIL as problem:
        log.warning("the mail %r does not reach one of its readers: %s", message.subject, type(problem).__name__)
        return False
    return True


def _record(approval_id: Any, attempts: int, post: _Post, *, delivered: bool) -> None:
    """What was sent, unless something new came up meanwhile, which has an attempt of its own."""
    now, rows = timezone.now(), Approval.objects.filter(pk=approval_id)
    mine = rows.filter(mail_attempts=attempts)
    mine = mine.filter(mail_due_at=post.due) if post.due is not None else mine
    if delivered:
        Note.objects.filter(pk__in=post.notes).update(mailed_at=now)
        rows.update(**post.told)
        mine.update(mail_due_at=None)
        return
    over = attempts > len(BACKOFF)
    if over:
        log.error("mails about approval %s were not sent: %d attempts failed", approval_id, attempts)
    due = None if over else now + timedelta(seconds=BACKOFF[attempts - 1])
    mine.update(mail_due_at=due)
