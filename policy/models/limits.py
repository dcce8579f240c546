"""Limits: how much of what, shared by whom."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.models import Tenant


class Counts(models.TextChoices):
    """What a limit counts."""

    CALLS = "calls", _("calls")
    BYTES = "bytes", _("bytes of results")
    CONCURRENT = "concurrent", _("calls at once")
    UNITS = "units", _("units a day")
    REPEATS = "repeats", _("the very same call, again and again")


class Per(models.TextChoices):
    """Who shares one allowance."""

    TENANT = "tenant", _("the whole tenant together")
    MEMBER = "member", _("each member")
    CREDENTIAL = "credential", _("each key or app")
    CLIENT = "client", _("each OAuth client, over all its users")
    TOOL = "tool", _("each tool")


SHARED = frozenset({Per.TENANT, Per.CLIENT, Per.TOOL})
"""What several members draw on together, so that one of them could take all of it."""

WINDOWED = frozenset({Counts.CALLS, Counts.BYTES, Counts.REPEATS})
"""What is counted within so many seconds."""


class Limit(models.Model):
    """How much of what. A call must fit every limit that applies to it, or none is charged."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="limits")
    counts = models.CharField(max_length=12, choices=Counts.choices, default=Counts.CALLS)
    per = models.CharField(max_length=16, choices=Per.choices, default=Per.MEMBER)
    tool = models.CharField(max_length=128, blank=True, help_text=_("Only calls of this tool; empty for all of them."))
    most = models.PositiveIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(1_000_000_000)], help_text=_("How many of what it counts.")
    )
    seconds = models.PositiveIntegerField(
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(86400)],
        help_text=_("Within how many seconds. Means nothing for calls at once and for units a day."),
    )
    share = models.PositiveSmallIntegerField(
        default=100,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text=_("How much of it one member may take, in percent, so that one leaves room for the others."),
    )

    class Meta:
        ordering = ["tenant", "per", "tool"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(most__gte=1, seconds__gte=1, seconds__lte=86400, share__gte=1, share__lte=100),
                name="limit_in_range",
            )
        ]

    def __str__(self) -> str:
        """Like: at most 5 calls of refund at once for each member."""
        of = f" of {self.tool}" if self.tool else ""
        within = f" in {self.seconds} s"
        said = {
            Counts.CALLS: f"{self.most:,} calls{of}{within}",
            Counts.BYTES: f"{self.most:,} bytes of results{of}{within}",
            Counts.CONCURRENT: f"{self.most:,} calls{of} at once",
            Counts.UNITS: f"{self.most:,} units{' for calls' if of else ''}{of} a day",
            Counts.REPEATS: f"{self.most:,} times the very same call{of}{within}",
        }[Counts(self.counts)]
        one = f", {self.share}% of it for one member" if self.share < 100 else ""
        return f"at most {said} for {self.get_per_display()}{one}"
