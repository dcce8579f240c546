"""Who is told of jobs and of requests for access, and what they were told."""

import re

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from jobs.models.jobs import Job
from policy.models import AccessRequest
from tenants.models import Tenant, User


class Hook(models.Model):
    """A URL that is told when a job ends, or waits for somebody. secret: sealed; what deliveries are signed with.

    The URL's path and query may be a secret too (chat services): outside its own pages a hook goes by `origin`.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    url = models.CharField(max_length=500)
    secret = models.BinaryField(editable=False)
    enabled = models.BooleanField(default=True)
    failing_since = models.DateTimeField(null=True, editable=False)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, editable=False, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    unrecorded = ("url", "secret", "failing_since")

    class Meta:
        ordering = ["tenant", "url"]

    def __str__(self) -> str:
        return self.origin

    @property
    def origin(self) -> str:
        """Scheme, host and port: all that the ledger and the log may say of the URL."""
        return origin(self.url)


def origin(url: str) -> str:
    """Scheme, host and port of a hook's URL."""
    scheme, _, rest = url.partition("://")
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    return f"{scheme}://{authority.rpartition('@')[2]}"


class Delivery(models.Model):
    """One message to a Hook about one job or one request, and how its attempts went. about: that the job `ended`, is
    `held` for approval or was `broken` free; that the request was `asked`. version: what was live then of the tool that
    is asked for."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        DELIVERED = "delivered", _("Delivered")
        GIVEN_UP = "given_up", _("Given up")

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    hook = models.ForeignKey(Hook, on_delete=models.CASCADE, related_name="deliveries")
    job = models.ForeignKey(Job, on_delete=models.CASCADE, null=True, related_name="+")
    request = models.ForeignKey(AccessRequest, on_delete=models.CASCADE, null=True, related_name="+")
    version = models.PositiveIntegerField(null=True)
    about = models.CharField(max_length=8, db_default="ended")
    state = models.CharField(max_length=16, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField()
    tried_at = models.DateTimeField(null=True)
    status = models.PositiveSmallIntegerField(null=True)
    said = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["hook", "job", "about"], name="one_delivery_of_each"),
            models.CheckConstraint(
                condition=Q(job__isnull=False, request__isnull=True)
                | Q(job__isnull=True, request__isnull=False, version__isnull=False),
                name="delivery_is_about_one_thing",
            ),
        ]
        indexes = [models.Index(fields=["due_at"], name="jobs_deliver", condition=Q(state="waiting"))]

    def __str__(self) -> str:
        return f"{self.hook} {self.job_id or self.request_id}"
