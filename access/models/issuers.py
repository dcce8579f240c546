"""Outside issuers: a tenant may trust its company's own authorization server instead of the hub's."""

from django.contrib.postgres.fields import ArrayField
from django.core.validators import URLValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.models import Tenant

HTTP = URLValidator(schemes=["http", "https"])
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""Signatures a token may carry; all of them asymmetric, so that no public key can be taken for a secret."""


def usual_algorithms() -> list[str]:
    """The default of `OutsideIssuer.algorithms`."""
    return ["RS256", "ES256", "EdDSA"]


class OutsideIssuer(models.Model):
    """The authorization server a tenant trusts instead of the hub's own, and how its tokens name people."""

    class Matches(models.TextChoices):
        USERNAME = "username", _("The user name")
        EMAIL = "email", _("The e-mail address")

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, related_name="outside_issuer")
    issuer = models.CharField(
        max_length=500, validators=[HTTP], help_text=_("Exactly as its tokens say it in `iss`, to the last slash.")
    )
    jwks_uri = models.CharField(max_length=2000, validators=[HTTP], help_text=_("Where its public keys are."))
    algorithms = ArrayField(models.CharField(max_length=8), default=usual_algorithms)
    claim = models.CharField(max_length=60, default="sub", help_text=_("The claim that names the person."))
    matches = models.CharField(
        max_length=12,
        choices=Matches.choices,
        default=Matches.USERNAME,
        help_text=_("What of a member that claim is compared with."),
    )
    scope_claim = models.CharField(max_length=60, default="scope", help_text=_("The claim that lists the scopes."))
    enabled = models.BooleanField(default=True, help_text=_("While it is on, the hub issues no tokens of its own."))

    class Meta:
        ordering = ["tenant"]

    def __str__(self) -> str:
        return self.issuer
