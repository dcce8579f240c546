"""The ledger: what was done, by whom, and how it ended. Rows are added and never changed."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Event(models.TextChoices):
    """What an entry says."""

    STARTED = "call.started", _("Call started")
    FINISHED = "call.finished", _("Call finished")
    REFUSED = "call.refused", _("Call refused")
    INTERRUPTED = "call.interrupted", _("Call interrupted")
    ASKED = "call.asked", _("Call asked about")
    ANSWERED = "call.answered", _("Question about a call answered")
    TURNED_AWAY = "access.refused", _("Access refused")
    CHANGED = "changed", _("Changed")
    JOB_ACCEPTED = "job.accepted", _("Job accepted")
    JOB_JOINED = "job.joined", _("Job joined")
    JOB_RETURNED = "job.returned", _("Job returned to the queue")
    JOB_CANCELLED = "job.cancelled", _("Job cancelled")
    JOB_INTERRUPTED = "job.interrupted", _("Job interrupted")
    JOB_EXPIRED = "job.expired", _("Job expired")
    JOB_ENDED = "job.ended", _("Job ended")
    JOB_ASKED = "job.asked", _("Job asked something")
    JOB_ANSWERED = "job.answered", _("Job answered")
    JOB_DISCARDED = "job.discarded", _("Late result of a job discarded")
    JOB_HELD = "job.held", _("Job held for approval")
    APPROVED = "approval.given", _("Job approved")
    DENIED = "approval.denied", _("Job denied")
    BROKEN = "approval.broken", _("Job released without a reviewer")
    QUERIED = "approval.asked", _("Reviewer asked something")
    REPLIED = "approval.answered", _("Reviewer was answered")


class Outcome(models.TextChoices):
    """How a call ended."""

    OK = "ok", _("OK")
    ERROR = "error", _("Error")
    TIMEOUT = "timeout", _("Timed out")
    CANCELLED = "cancelled", _("Cancelled")
    REFUSED = "refused", _("Refused")
    INTERRUPTED = "interrupted", _("Interrupted")


class Entry(models.Model):
    """One line of the ledger. The table is partitioned by month, so the database's own key is (id, at).

    No foreign keys: an entry outlives what it speaks of, and names it as it was.
    """

    id = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    tenant_id = models.BigIntegerField()
    event = models.CharField(max_length=20, choices=Event.choices)
    call_id = models.UUIDField(null=True)
    instance_id = models.UUIDField(null=True)
    actor = models.CharField(max_length=150)
    credential = models.CharField(max_length=64)
    client = models.CharField(max_length=200)
    via = models.CharField(max_length=16)
    address = models.CharField(max_length=64)
    tool = models.CharField(max_length=128)
    version = models.IntegerField(null=True)
    outcome = models.CharField(max_length=16, choices=Outcome.choices)
    reason = models.CharField(max_length=64)
    duration_ms = models.FloatField(null=True)
    digest = models.CharField(max_length=32)
    preview = models.JSONField(null=True)
    trace = models.CharField(max_length=55)
    subject = models.CharField(max_length=200)
    detail = models.JSONField(null=True)

    class Meta:
        managed = False
        db_table = "audit_entry"
        ordering = ["-at", "-id"]
        verbose_name_plural = "entries"

    def __str__(self) -> str:
        return f"{self.event} {self.tool or self.subject}"
