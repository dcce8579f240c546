"""What policy decides with. Limits now; rules stand beside them."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.models import Tenant


class Per(models.TextChoices):
    """Who shares one allowance."""

    TENANT = "tenant", _("the whole tenant together")
    MEMBER = "member", _("each member")
    CREDENTIAL = "credential", _("each key")
    TOOL = "tool", _("each tool")


class Limit(models.Model):
    """How many calls in how many seconds. A call must fit every limit that applies to it, or none is charged."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="limits")
    per = models.CharField(max_length=16, choices=Per.choices, default=Per.MEMBER)
    tool = models.CharField(max_length=128, blank=True, help_text=_("Only calls of this tool; empty for all of them."))
    calls = models.PositiveIntegerField(validators=[MinValueValidator(1), MaxValueValidator(1_000_000_000)])
    seconds = models.PositiveIntegerField(default=60, validators=[MinValueValidator(1), MaxValueValidator(86400)])

    class Meta:
        ordering = ["tenant", "per", "tool"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(calls__gte=1, seconds__gte=1, seconds__lte=86400), name="limit_in_range"
            )
        ]

    def __str__(self) -> str:
        return f"{self.calls} calls in {self.seconds} s for {self.get_per_display()}"
