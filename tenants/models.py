"""Who there is: people, the teams that own an endpoint, what a person is in a team, what a team calls permissions."""

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

SLUG = RegexValidator(r"^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$", _("Lower-case letters, digits and inner hyphens."))
# RFC 6749 section 3.3 allows more; colons, dots and hyphens cover the conventions in use and survive every host.
SCOPE_NAME = RegexValidator(r"^[a-z][a-z0-9_.:-]{0,62}$", _("Like tickets.read: lower-case letters, digits, . _ : -"))

NAME_TAKEN = _("Somebody has this user name already; capitals make no difference. Choose another.")


class User(AbstractUser):
    """A person, or the stand-in for a machine. A superuser is platform staff and sees every tenant."""

    unrecorded = ("password", "last_login")

    class Meta(AbstractUser.Meta):
        constraints = [
            # `Bob` and `bob` would be one to every reader, and to the sign-in form.
            models.UniqueConstraint(Lower("username"), name="one_user_name", violation_error_message=NAME_TAKEN),
        ]


class Role(models.TextChoices):
    OWNER = "owner", _("Owner: everything, and who else may")
    ADMIN = "admin", _("Admin: describes tools, connections, scopes and keys")
    APPROVER = "approver", _("Approver: decides on held calls")
    AUDITOR = "auditor", _("Auditor: reads the ledger")
    USER = "user", _("User: calls tools")


def every_role() -> list[str]:
    """The default of `Scope.roles`."""
    return list(Role.values)


class Admits(models.TextChoices):
    """Which clients may ask a tenant's members for access."""

    OPEN = "open", _("Every client that is not blocked")
    ASK = "ask", _("Clients that were admitted; others can be asked for")
    LIST = "list", _("Only clients that were admitted")


class ScanStops(models.TextChoices):
    """From which level on a finding of the scan keeps a tool from being published."""

    DANGER = "danger", _("Danger")
    WARNING = "warning", _("Warning")
    NEVER = "never", _("Never; findings are only shown")


class Tenant(models.Model):
    """A team with its own MCP endpoint, `/t/<slug>/mcp`."""

    slug = models.CharField(max_length=48, unique=True, validators=[SLUG], help_text=_("The part of its URL."))
    name = models.CharField(max_length=100, help_text=_("Shown to people and hosts."))
    instructions = models.TextField(
        blank=True, max_length=4000, help_text=_("Told to the model when a host connects: what the tools are for.")
    )
    enabled = models.BooleanField(default=True, help_text=_("A disabled tenant is unknown to everybody at once."))
    admits = models.CharField(
        "admits clients",
        max_length=8,
        choices=Admits.choices,
        default=Admits.OPEN,
        help_text=_("Which programs may ask its members for access. API keys are not affected."),
    )
    second_publisher = models.BooleanField(
        "a second person publishes",
        default=False,
        help_text=_("Who wrote a tool or the rules cannot publish them; somebody else who may has to."),
    )
    scan_stops = models.CharField(
        "the scan stops at",
        max_length=8,
        choices=ScanStops.choices,
        default=ScanStops.DANGER,
        help_text=_("Findings from this level on keep a tool from being published."),
    )
    link_hosts = ArrayField(
        models.CharField(max_length=255),
        default=list,
        blank=True,
        help_text=_("Hosts that results may link to, such as acme.example or *.acme.example; others are marked."),
    )
    catalog_version = models.BigIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.name


class Stop(models.Model):
    """The hub's one row while everything is stopped: nobody is let in at any tenant's endpoint, no job is taken up."""

    one = models.BooleanField(primary_key=True, default=True)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(one=True), name="one_stop")]

    def __str__(self) -> str:
        return "everything is stopped"


class Member(models.Model):
    """A user in a tenant, with a role."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.USER)
    active = models.BooleanField(default=True, help_text=_("An inactive member's keys stop working on the next call."))
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["tenant", "user"]
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="one_membership_per_tenant")]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


class Group(models.Model):
    """Members who belong together, such as those who review refunds."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="groups")
    name = models.CharField(max_length=63)
    members = models.ManyToManyField(Member, related_name="groups", blank=True)

    class Meta:
        ordering = ["tenant", "name"]
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="one_group_per_name")]

    def __str__(self) -> str:
        return self.name


class Scope(models.Model):
    """A permission a tenant defines, such as `tickets.read`. Tools require scopes; keys carry them."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="scopes")
    name = models.CharField(max_length=63, validators=[SCOPE_NAME])
    description = models.CharField(
        max_length=200, help_text=_("What it lets somebody do, for the person who consents.")
    )
    implies = ArrayField(models.CharField(max_length=63), default=list, blank=True)
    roles = ArrayField(
        models.CharField(max_length=16, choices=Role.choices),
        default=every_role,
        help_text=_("Which roles may hold it."),
    )
    needed = models.BooleanField(
        "always part of a consent",
        default=False,
        help_text=_("A person who lets a program in cannot leave this one out."),
    )

    class Meta:
        ordering = ["tenant", "name"]
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="one_scope_per_name")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """An implied scope must exist in the same tenant; a scope cannot imply itself."""
        known = set(Scope.objects.filter(tenant_id=self.tenant_id).values_list("name", flat=True))
        errors: dict[str, Any] = {}
        if missing := sorted(set(self.implies) - known):
            errors["implies"] = f"Not a scope of this tenant: {', '.join(missing)}."
        elif self.name in self.implies:
            errors["implies"] = "A scope cannot imply itself."
        if errors:
            raise ValidationError(errors)


class Invitation(models.Model):
    """A link that makes whoever follows it a member. Only the digest of its secret is kept."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField("e-mail", blank=True, help_text=_("Where the link is sent, when the hub can send mail."))
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.USER)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(editable=False)
    accepted_at = models.DateTimeField(null=True, editable=False)
    accepted_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+", editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    unrecorded = ("digest",)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.email or f"invitation {self.pk}"

    @property
    def state(self) -> str:
        """`open`, `accepted`, `revoked` or `expired`."""
        if self.accepted_at:
            return "accepted"
        if self.revoked_at:
            return "revoked"
        return "open" if self.expires_at > timezone.now() else "expired"
