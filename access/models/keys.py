"""API keys, and how a secret is kept: as its digest."""

import hashlib
import secrets

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenants.models import Member, Tenant


class APIKey(models.Model):
    """A secret that lets a host act for a member at one tenant's endpoint. Only its digest is kept."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="keys")
    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="keys")
    name = models.CharField(max_length=100, help_text=_("What uses it, like “Claude Code on my laptop”."))
    prefix = models.CharField(max_length=24, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=63), default=list, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    unrecorded = ("digest", "last_used_at")

    class Meta:
        ordering = ["-created_at"]
        verbose_name = _("API key")

    def __str__(self) -> str:
        return f"{self.prefix}… ({self.name})"

    @property
    def state(self) -> str:
        """`active`, `revoked` or `expired`."""
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at and self.expires_at <= timezone.now() else "active"


def new_secret() -> str:
    """A fresh key: recognisable by scanners, 256 random bits."""
    return f"mcphub_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"


def digest_of(secret: str) -> str:
    """What is stored. A plain SHA-256 is right here: 256 random bits cannot be guessed, so nothing slow is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()
