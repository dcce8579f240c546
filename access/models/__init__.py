"""What opens the door: API keys, and all that the authorization server keeps."""

from access.models.clients import Admission, AuthMethod, Client
from access.models.consents import Consent
from access.models.issuers import OutsideIssuer
from access.models.keys import APIKey, digest_of, new_secret
from access.models.tokens import AccessToken, Grant, IDToken, RefreshToken

__all__ = [
    "APIKey",
    "AccessToken",
    "Admission",
    "AuthMethod",
    "Client",
    "Consent",
    "Grant",
    "IDToken",
    "OutsideIssuer",
    "RefreshToken",
    "digest_of",
    "new_secret",
]
