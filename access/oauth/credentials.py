"""How a client proves itself at the token, revocation and introspection endpoints (RFC 6749 section 2.3, RFC 7523)."""

import base64
import binascii
import hmac
from dataclasses import dataclass
from urllib.parse import unquote_plus

from django.http import HttpRequest

from access.clients import assertions
from access.models import AuthMethod, Client, digest_of
from access.oauth.forms import Form, Malformed

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_MOST_ID = 255


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """What a request presents. `secret` goes with BASIC and POST; with JWT the id is already proven.

    client_id is empty when there is none that could be one.
    """

    client_id: str
    method: AuthMethod
    secret: str = ""


NOBODY = Credentials(client_id="", method=AuthMethod.NONE)


def could_be(client_id: str) -> bool:
    """Whether this may be somebody's id at all; Postgres is not asked about anything else."""
    return 0 < len(client_id) <= _MOST_ID and "\0" not in client_id


def presented(request: HttpRequest, form: Form, *, address: str) -> Credentials:
    """The one way in which a request says who its client is.

    Raises Malformed when it uses several, or names two clients. May go to the network for a client's keys, so call it
    outside any transaction.
    """
    header = request.META.get("HTTP_AUTHORIZATION", "")
    ways = [bool(header), form.get("client_secret") is not None, form.get("client_assertion") is not None]
    if sum(ways) > 1:
        raise Malformed("Use one way to authenticate the client, not several.")
    named = form.get("client_id")
    if header:
        found = _basic(header)
    elif assertion := form.get("client_assertion"):
        found = _asserted(assertion, form, address)
    elif secret := form.get("client_secret"):
        found = Credentials(client_id=named or "", method=AuthMethod.POST, secret=secret)
    else:
        found = Credentials(client_id=named or "", method=AuthMethod.NONE)
    if named and found.client_id and named != found.client_id:
        raise Malformed("The client_id is not that of the client that authenticates.")
    return found if could_be(found.client_id) else NOBODY


def proven(credentials: Credentials) -> Client | None:
    """The client that a request is from, authenticated by exactly the method it has; None for anything else.

    Runs inside the scope of the client's tenant, if it has one. Says nothing of whether the client is blocked.
    """
    if not could_be(credentials.client_id):
        return None
    client = Client.objects.select_related("tenant", "member__user", "member__tenant").filter(
        client_id=credentials.client_id
    )
    found = client.first()
    if found is None or found.auth_method != credentials.method:
        return None
    if credentials.secret and not _same(credentials.secret, found.client_secret):
        return None
    return found


def _same(secret: str, kept: str) -> bool:
    """The digest is kept; see access.models.keys for why that is enough."""
    return hmac.compare_digest(digest_of(secret).encode(), kept.encode())


def _basic(header: str) -> Credentials:
    """RFC 6749 section 2.3.1: both parts are form-encoded before they are joined. No secret is no proof."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return NOBODY
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
        client_id, colon, secret = decoded.partition(":")
        client_id, secret = unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except (binascii.Error, ValueError):
        return NOBODY
    if not colon:
        return NOBODY
    return Credentials(client_id=client_id, method=AuthMethod.BASIC if secret else AuthMethod.NONE, secret=secret)


def _asserted(assertion: str, form: Form, address: str) -> Credentials:
    if form.get("client_assertion_type") != ASSERTION:
        return NOBODY
    client_id = assertions.verify(assertion, address=address)
    return Credentials(client_id=client_id, method=AuthMethod.JWT) if client_id else NOBODY
