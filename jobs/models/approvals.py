"""People's yes to a call: that of whom it works for, and that of a second person."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from jobs.models.jobs import Job
from lib.ids import uuid7
from tenants.models import Member, Tenant, User


class Approval(models.Model):
    """A second person's yes or no to a held job, bound to its tool's version, its exact arguments and its caller.

    manifest_hash, digest, destination: what is approved; released is only what still has them. destination: the base
    URL that it goes to, "" without a connection. arguments: sealed, and kept as long as this row is, for those who
    decide and to compare later calls with. rule: what held it. found: what was found in its input. roles, groups: who
    may decide; reviewers: the members who could when it was held, as nobody becomes a reviewer of what waits already;
    owners: the members who were owners then, so that they may release it without a reviewer (break-glass). broken: the
    reason an owner gave for doing so. mailed_at, owners_mailed_at: when people were written to; mail_due_at: when to
    try that, None where nobody is to be written to.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        APPROVED = "approved", _("Approved")
        DENIED = "denied", _("Denied")
        EXPIRED = "expired", _("Expired")
        WITHDRAWN = "withdrawn", _("Withdrawn")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="approval")
    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="+")
    tool = models.CharField(max_length=128)
    manifest_hash = models.CharField(max_length=64)
    digest = models.CharField(max_length=32)
    destination = models.CharField(max_length=500, blank=True)
    arguments = models.BinaryField()
    rule = models.CharField(max_length=100, blank=True)
    message = models.CharField(max_length=500, blank=True)
    found = ArrayField(models.CharField(max_length=63), default=list, blank=True)
    roles = ArrayField(models.CharField(max_length=16), default=list, blank=True)
    groups = ArrayField(models.CharField(max_length=63), default=list, blank=True)
    reviewers = ArrayField(models.BigIntegerField(), default=list, blank=True)
    owners = ArrayField(models.BigIntegerField(), default=list, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    decided_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=500, blank=True)
    broken = models.CharField(max_length=500, blank=True)
    mailed_at = models.DateTimeField(null=True)
    owners_mailed_at = models.DateTimeField(null=True)
    mail_due_at = models.DateTimeField(null=True)
    mail_attempts = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["tenant", "-created_at"], name="approvals_inbox"),
            models.Index(fields=["mail_due_at"], name="approvals_mail", condition=Q(mail_due_at__isnull=False)),
            models.Index(fields=["tenant", "tool", "-decided_at"], name="approvals_alike"),
            models.Index(fields=["expires_at"], name="approvals_waiting", condition=Q(state="waiting")),
        ]

    def __str__(self) -> str:
        return f"{self.tool} {self.pk}"


class Note(models.Model):
    """What a reviewer asks about a held job, and what is answered."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    approval = models.ForeignKey(Approval, on_delete=models.CASCADE, related_name="notes")
    author = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    text = models.CharField(max_length=1000)
    created_at = models.DateTimeField(auto_now_add=True)
    mailed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["created_at", "id"]

    def __str__(self) -> str:
        return f"{self.author}: {self.text}"


class Confirmation(models.Model):
    """A question to the caller's own person, answered on a page of ours, where their host cannot ask it.

    Bound as an Approval is, and to the credential; the same call runs once when it was answered with yes. arguments:
    sealed. used_at: when that call came.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="+")
    credential = models.CharField(max_length=64)
    client = models.CharField(max_length=200, blank=True)
    tool = models.CharField(max_length=128)
    manifest_hash = models.CharField(max_length=64)
    digest = models.CharField(max_length=32)
    arguments = models.BinaryField()
    message = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    answer = models.CharField(max_length=8, blank=True)
    answered_at = models.DateTimeField(null=True)
    used_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["tenant", "member", "digest"], name="confirmations_of")]

    def __str__(self) -> str:
        return f"{self.tool} {self.pk}"
