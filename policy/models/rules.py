"""Rules: the draft that admins write, the versions that were published, and what people ask an exception for."""

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from lib.fields import WrittenJSON
from policy.values import Effect
from tenants.models import Member, Tenant, User


class Rule(models.Model):
    """One rule of a tenant's draft. It decides nothing before the draft is published.

    spec: the rest of it, as `policy.rules.Spec` describes it: what it matches, and what it does then.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="rules")
    name = models.CharField(max_length=100, help_text=_("A sentence: Refunds above 500 need a second person."))
    priority = models.SmallIntegerField(
        default=100,
        validators=[MinValueValidator(0), MaxValueValidator(1000)],
        help_text=_("From 0 to 1000. The highest that matches decides; of equal ones the strictest."),
    )
    effect = models.CharField(max_length=12, choices=[(one.value, one.label) for one in Effect])
    enabled = models.BooleanField(default=True)
    spec = WrittenJSON(default=dict, blank=True)

    class Meta:
        ordering = ["tenant", "-priority", "name"]
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="one_rule_per_name")]

    def __str__(self) -> str:
        return self.name


class Draft(models.Model):
    """Who wrote at a tenant's draft since it was last published, by user id. Who writes or publishes locks it."""

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, primary_key=True, related_name="+")
    writers = ArrayField(models.BigIntegerField(), default=list)

    def __str__(self) -> str:
        return f"draft of {self.tenant}"


class Ruleset(models.Model):
    """A published version of a tenant's rules. Never changed: the application role may only add and read. The one with
    the highest number is live.

    rules: as `policy.rules.Spec` writes them. pins: the hash that each tool's manifest had, by its name, for every tool
    that a loosening rule names.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="rulesets")
    number = models.PositiveIntegerField()
    rules = WrittenJSON(default=list, blank=True)
    pins = WrittenJSON(default=dict, blank=True)
    note = models.CharField(max_length=200, blank=True)
    published_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    published_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["tenant", "-number"]
        constraints = [models.UniqueConstraint(fields=["tenant", "number"], name="one_ruleset_per_number")]

    def __str__(self) -> str:
        return f"rules v{self.number}"


class AccessRequest(models.Model):
    """A member asks for what a rule refuses them. Granting it publishes a rule that allows them the tool until then;
    where the tenant asks for a second person, it puts that rule into the draft, which somebody else publishes."""

    class State(models.TextChoices):
        OPEN = "open", _("Waiting for an admin")
        PROPOSED = "proposed", _("Waiting for a second person")
        GRANTED = "granted", _("Granted")
        DENIED = "denied", _("Denied")

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="+")
    tool = models.CharField(max_length=128)
    rule = models.CharField(max_length=100, blank=True, help_text=_("The rule that refused it."))
    why = models.CharField(max_length=500)
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    answer = models.CharField(max_length=500, blank=True)
    until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    decided_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+", editable=False)
    decided_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["member", "tool"],
                condition=models.Q(state__in=["open", "proposed"]),
                name="one_open_request_per_tool",
            )
        ]

    def __str__(self) -> str:
        return f"{self.tool} for {self.member.user.username}"
