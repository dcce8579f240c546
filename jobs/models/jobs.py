"""Jobs. A row says everything that is known of a job; nothing else is authority."""

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from lib.ids import uuid7
from tenants.models import Member, Tenant
from tools.models import Version


class State(models.TextChoices):
    """Where a job is. The first four are open, the others are ends."""

    QUEUED = "queued", _("Waiting for a worker")
    RUNNING = "running", _("Running")
    INPUT = "input_required", _("Waiting for an answer")
    APPROVAL = "awaiting_approval", _("Waiting for approval")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")
    INTERRUPTED = "interrupted", _("Interrupted")
    EXPIRED = "expired", _("Expired")


OPEN = frozenset({State.QUEUED, State.RUNNING, State.INPUT, State.APPROVAL})
HELD = frozenset({State.RUNNING, State.INPUT})
"""A worker has it, under a lease."""
ENDED = frozenset(State) - OPEN


class Job(models.Model):
    """One accepted call of a tool.

    id: also the call_id of the ledger entry that accepted it. scopes: what the call was accepted with; a worker takes
    what of it is still granted. most_attempts: how often it may be begun. fence: counts the claims; who writes with an
    older one has lost its lease. begun_at: when the tool itself was entered, from where on only an idempotent one may
    be run again. rung_at: when a worker was last called for it. joined_at: when the same call came again and was given
    this job too. arguments, inputs (what it asks, see `jobs.asking`), answers, result: sealed JSON. fingerprint: a
    keyed digest of caller, tool and arguments. upstream: what an asynchronous upstream calls the work, and for which
    start it was given a URL to call back at (`jobs.callbacks`); never a secret. result_key: where the result lies when
    it is too large for the row. agreed: what people said yes to before it was accepted, or while it was held:
    `confirmed`, `approved`, or nothing.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="+")
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="+")
    tool = models.CharField(max_length=128)
    username = models.CharField(max_length=150)
    credential = models.CharField(max_length=64)
    client = models.CharField(max_length=200, blank=True)
    via = models.CharField(max_length=16)
    address = models.CharField(max_length=64, blank=True)
    trace = models.CharField(max_length=55, blank=True)
    tracestate = models.CharField(max_length=512, blank=True)
    scopes = ArrayField(models.CharField(max_length=63), default=list, blank=True)

    state = models.CharField(max_length=20, choices=State.choices, default=State.QUEUED)
    reason = models.CharField(max_length=64, blank=True)
    priority = models.SmallIntegerField(default=0)
    idempotent = models.BooleanField()
    attempts = models.PositiveSmallIntegerField(default=0)
    most_attempts = models.PositiveSmallIntegerField(default=1)
    fence = models.BigIntegerField(default=0)
    holder = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    cancel_at = models.DateTimeField(null=True)
    cancelled_by = models.CharField(max_length=150, blank=True)

    arguments = models.BinaryField(null=True)
    preview = models.JSONField(null=True)
    fingerprint = models.CharField(max_length=32)
    agreed = models.CharField(max_length=12, blank=True, db_default="")
    progress = models.FloatField(null=True)
    total = models.FloatField(null=True)
    message = models.CharField(max_length=200, blank=True)
    inputs = models.BinaryField(null=True)
    answers = models.BinaryField(null=True)
    result = models.BinaryField(null=True)
    result_key = models.CharField(max_length=200, blank=True)
    result_bytes = models.BigIntegerField(default=0)
    error = models.JSONField(null=True)
    upstream = models.JSONField(null=True)

    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    due_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    begun_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    rung_at = models.DateTimeField(null=True)
    joined_at = models.DateTimeField(null=True)
    patience_until = models.DateTimeField()
    keep = models.DurationField(help_text=_("How long the result is kept once it has ended."))
    expires_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(
                fields=["tenant", "-priority", "due_at", "id"], name="jobs_queued", condition=Q(state="queued")
            ),
            models.Index(fields=["tenant"], name="jobs_held", condition=Q(state__in=["running", "input_required"])),
            models.Index(fields=["tenant", "fingerprint", "-created_at"], name="jobs_again"),
            models.Index(fields=["tenant", "member", "-created_at"], name="jobs_mine"),
            models.Index(fields=["tenant", "-created_at"], name="jobs_tenant"),
            models.Index(fields=["expires_at"], name="jobs_expire", condition=Q(expires_at__isnull=False)),
            models.Index(fields=["lease_until"], name="jobs_lease", condition=Q(lease_until__isnull=False)),
            models.Index(fields=["tenant", "-started_at"], name="jobs_served", condition=Q(started_at__isnull=False)),
            models.Index(fields=["ended_at"], name="jobs_ended", condition=Q(ended_at__isnull=False)),
        ]
        constraints = [
            models.CheckConstraint(
                name="only_held_jobs_have_a_lease",
                condition=Q(state__in=["running", "input_required"], lease_until__isnull=False)
                | (~Q(state__in=["running", "input_required"]) & Q(lease_until__isnull=True)),
            ),
            models.CheckConstraint(
                name="open_jobs_have_no_end",
                condition=Q(
                    state__in=["queued", "running", "input_required", "awaiting_approval"], ended_at__isnull=True
                )
                | (
                    ~Q(state__in=["queued", "running", "input_required", "awaiting_approval"])
                    & Q(ended_at__isnull=False)
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tool} {self.pk}"


class Callback(models.Model):
    """What an upstream said by calling back about a job, until that was heard or the job has ended.

    start: the fence of the attempt that began the work it speaks of. body: sealed JSON. The ids of one job's are in the
    order in which they came.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="+")
    start = models.BigIntegerField()
    body = models.BinaryField()
    came_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.job_id} {self.came_at}"


class Allowance(models.Model):
    """How many jobs a tenant may have at once, where it differs from JOBS_RUNNING and JOBS_QUEUED."""

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, primary_key=True, related_name="+")
    running = models.PositiveIntegerField(default=8, validators=[MinValueValidator(1)])
    queued = models.PositiveIntegerField(default=1000, validators=[MinValueValidator(1)])

    def __str__(self) -> str:
        return f"{self.tenant}: {self.running} running, {self.queued} waiting"
