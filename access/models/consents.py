"""Consents: what a person let a client do at a tenant, as it was shown to them."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from access.models.clients import Client
from tenants.models import Member, Tenant


class Consent(models.Model):
    """A member's yes to a client: which scopes, for how long, and what exactly they were shown.

    Every token that comes of it points back here, so revoking this row is revoking all of them.
    pins: by the name of each tool that it covered when it was given, what it was then (`tenants.pins.Pin`).
    pins_version: moves with them.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="consents")
    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="consents")
    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="consents")
    scopes = ArrayField(models.CharField(max_length=63), default=list)
    shown = models.JSONField()
    shown_hash = models.CharField(max_length=64)
    pins = models.JSONField(default=dict)
    pins_version = models.PositiveIntegerField(default=1)
    redirect_origin = models.CharField(max_length=300)
    created_at = models.DateTimeField(auto_now_add=True)
    given_at = models.DateTimeField()
    until = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    last_address = models.CharField(max_length=64, blank=True)

    unrecorded = ("last_used_at", "last_address", "pins_version")

    class Meta:
        ordering = ["-given_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["member", "client"], condition=Q(revoked_at__isnull=True), name="one_live_consent"
            )
        ]

    def __str__(self) -> str:
        return f"{self.client} for {self.member.user.username}"

    @property
    def live(self) -> bool:
        """Neither revoked nor run out."""
        return self.revoked_at is None and (self.until is None or self.until > timezone.now())
