"""Clients: the programs that ask for access, and which of them a tenant lets in."""

from urllib.parse import urlsplit

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import AbstractApplication

from access.oauth import redirects
from tenants.models import Member, Tenant


class AuthMethod(models.TextChoices):
    """How a client proves itself at the token endpoint (RFC 7591 section 2, RFC 7523)."""

    NONE = "none", _("Nothing: a public client")
    BASIC = "client_secret_basic", _("Secret, as HTTP Basic")
    POST = "client_secret_post", _("Secret, in the form")
    JWT = "private_key_jwt", _("Signed assertion")


class Client(AbstractApplication):
    """A program that may ask for tokens. “Application” is the toolkit's word; ours is Client.

    registration_source says where it comes from: `manual` (an admin made it), `cimd` (its id is the URL of a metadata
    document) or `dcr` (it registered itself). Without a tenant it is known to the whole hub. A machine (client
    credentials) belongs to one tenant and acts as one member with the listed scopes.
    """

    user = None
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True, related_name="clients")
    member = models.ForeignKey(
        Member,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="machines",
        help_text=_("The service member a machine acts as."),
    )
    scopes = ArrayField(models.CharField(max_length=63), default=list, blank=True)
    auth_method = models.CharField(max_length=24, choices=AuthMethod.choices, default=AuthMethod.NONE)
    jwks = models.JSONField(null=True, blank=True)
    jwks_uri = models.CharField(max_length=2000, blank=True)
    client_uri = models.CharField(max_length=2000, blank=True)
    logo_uri = models.CharField(max_length=2000, blank=True)
    logo = models.BinaryField(null=True, editable=False)
    logo_type = models.CharField(max_length=40, blank=True, editable=False)
    fetched_at = models.DateTimeField(null=True, editable=False)
    used_at = models.DateTimeField(null=True, editable=False)
    lapses_at = models.DateTimeField(null=True, editable=False)
    blocked_at = models.DateTimeField(null=True, editable=False)

    unrecorded = ("client_secret", "logo", "used_at", "fetched_at", "cimd_expires_at", "updated")

    class Meta(AbstractApplication.Meta):
        ordering = ["name", "client_id"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(authorization_grant_type="client-credentials")
                | Q(tenant__isnull=False, member__isnull=False, client_type="confidential"),
                name="machines_are_bound_to_a_tenant",
            ),
            models.CheckConstraint(condition=Q(skip_authorization=False), name="consent_is_never_skipped"),
        ]

    @property
    def machine(self) -> bool:
        """Whether it acts by itself, without a person."""
        return bool(self.authorization_grant_type == self.GRANT_CLIENT_CREDENTIALS)

    @property
    def domain(self) -> str:
        """The domain that vouches for it: its metadata document's. Empty for one that only named itself."""
        described = self.registration_source == self.RegistrationSource.CIMD
        return (urlsplit(self.client_id).hostname or "") if described else ""

    @property
    def live(self) -> bool:
        """Neither blocked nor lapsed."""
        return self.blocked_at is None and (self.lapses_at is None or self.lapses_at > timezone.now())

    def redirect_uri_allowed(self, uri: str) -> bool:
        """Whether an answer may be sent there: one of the registered ones exactly, save for a loopback's port."""
        return redirects.matches(uri, self.redirect_uris.split())

    def clean(self) -> None:
        """Redirect URIs by the hub's rules; the toolkit's refuse `cursor://` and take `http://evil.example`."""
        uris = self.redirect_uris.split()
        if not uris and not self.machine:
            raise ValidationError({"redirect_uris": "At least one redirect URI is needed."})
        wrong = [f"{uri}: {reason}" for uri in uris if (reason := redirects.why_not(uri))]
        if wrong:
            raise ValidationError({"redirect_uris": wrong})


class Admission(models.Model):
    """What a tenant has decided about a client, or was asked to decide."""

    class State(models.TextChoices):
        ASKED = "asked", _("Asked for")
        ADMITTED = "admitted", _("Admitted")
        BLOCKED = "blocked", _("Blocked")

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="admissions")
    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="admissions")
    state = models.CharField(max_length=12, choices=State.choices)
    asked_by = models.ForeignKey(Member, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["tenant", "client"], name="one_admission_per_client")]

    def __str__(self) -> str:
        return f"{self.client}: {self.state}"
