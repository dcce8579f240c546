"""Codes and tokens: the toolkit's tables, bound to one tenant, one member and the consent they come from.

None of them holds a secret. `Grant.code` is the SHA-256 of the code, `token_checksum` that of the token, and the
toolkit's `token` column stays empty.
"""

import uuid

from django.db import models
from oauth2_provider.models import AbstractAccessToken, AbstractGrant, AbstractIDToken, AbstractRefreshToken

from access.models.consents import Consent
from tenants.models import Member, Tenant


class Bound(models.Model):
    """What codes and tokens have in common: the tenant is their audience, the family what falls together."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="+")
    consent = models.ForeignKey(Consent, on_delete=models.CASCADE, null=True, related_name="+")
    token_family = models.UUIDField(default=uuid.uuid4, editable=False)
    until = models.DateTimeField(null=True)

    class Meta:
        abstract = True


class Grant(Bound, AbstractGrant):  # noqa: DJ008 - the toolkit's, which says no secret
    """An authorization code that was issued. It stays after its use, so that a replay is recognised."""

    used_at = models.DateTimeField(null=True)

    class Meta(AbstractGrant.Meta):
        pass


class AccessToken(Bound, AbstractAccessToken):  # noqa: DJ008
    """An access token: good for one tenant's endpoint."""

    class Meta(AbstractAccessToken.Meta):
        indexes = [models.Index(fields=["token_family"])]


# Both bases have token_family; ours is never empty.
class RefreshToken(Bound, AbstractRefreshToken):  # type: ignore[misc]  # noqa: DJ008
    """A refresh token, used once. `scope` is what was granted; a narrower access token does not narrow it."""

    scope = models.TextField(blank=True)

    class Meta(AbstractRefreshToken.Meta):
        # Instead of the toolkit's (token_checksum, revoked), which lets two live rows share a checksum.
        unique_together = ()  # type: ignore[assignment]
        indexes = [models.Index(fields=["token_family"])]
        constraints = [models.UniqueConstraint(fields=["token_checksum"], name="one_refresh_token")]


class IDToken(AbstractIDToken):
    """Never issued. The table is here because the toolkit's access token points at it."""

    class Meta(AbstractIDToken.Meta):
        pass
