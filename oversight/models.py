"""Kill switches: what was stopped, by whom and why, and when the last of it had stopped."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from lib.ids import uuid7
from tenants.models import Tenant, User


class Switch(models.Model):
    """One pull of a kill switch. The thing itself is switched off where it lives, so nothing but that is authority;
    this row is what the page reports by.

    tenant: None for what is not one tenant's. target: its id, or empty for everything. label: how it is called.
    stopped_at: when no call and no job of it was left running. lifted_at: when it was switched on again.
    """

    class Sort(models.TextChoices):
        TOOL = "tool", _("Tool")
        CONNECTION = "connection", _("Connection")
        CLIENT = "client", _("Client")
        USER = "user", _("User")
        TENANT = "tenant", _("Tenant")
        EVERYTHING = "everything", _("Everything")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, related_name="+")
    sort = models.CharField(max_length=12, choices=Sort.choices)
    target = models.CharField(max_length=64, blank=True)
    label = models.CharField(max_length=200)
    reason = models.CharField(max_length=500, blank=True)
    thrown_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    thrown_at = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True)
    lifted_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    lifted_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-thrown_at"]
        verbose_name_plural = "switches"

    def __str__(self) -> str:
        return f"{self.get_sort_display()} {self.label}"
