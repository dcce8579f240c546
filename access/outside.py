"""Tokens of the authorization server that a tenant trusts instead of the hub's own (RFC 7519, RFC 9068).

A token is read without being believed, so that the one read at the door can find the issuer and the person it names;
it is believed when its signature, issuer, audience and times have been checked here, and only then there is a Caller.
"""

import base64
import binascii
import contextlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard
from urllib.parse import urlsplit

import jwt
import orjson
from django.conf import settings

from access.clients import keysets
from access.models import OutsideIssuer
from access.models.issuers import ALGORITHMS
from lib import db
from lib.versioned import Versioned
from tenants.addresses import resource

log = logging.getLogger(__name__)

LEEWAY = 30
"""Seconds by which clocks may differ."""

_MOST_LENGTH = 16 * 1024
_MOST_NAME = 254
_TYPES = ("", "jwt", "at+jwt", "application/at+jwt")
_REQUIRED = ["exp", "iss", "aud"]
_TIMES = ("exp", "nbf", "iat")


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A token as it was presented; nothing of it is proven."""

    raw: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    @property
    def names(self) -> str:
        """The claims that can name an issuer or a person, as the JSON that `access_admit_outside` takes."""
        named = {name: value for name, value in self.claims.items() if _is_name(name) and _is_name(value)}
        return orjson.dumps(named).decode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Proven:
    """What a token that was checked says: the scopes it grants, and the client it was issued to."""

    scopes: tuple[str, ...]
    client: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Issuer:
    """A tenant's OutsideIssuer without its row."""

    issuer: str
    jwks_uri: str
    algorithms: frozenset[str]
    claim: str
    matches: str
    scope_claim: str


def read(secret: str) -> Token | None:
    """The token that this secret is, unbelieved; None for what is no signed JWT (RFC 7515 section 7.1)."""
    if len(secret) > _MOST_LENGTH or secret.count(".") != 2:
        return None
    header, claims = (_object(part) for part in secret.split(".")[:2])
    return Token(raw=secret, header=header, claims=claims) if header and claims else None


def _object(part: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_name(value: Any) -> TypeGuard[str]:
    """Postgres takes no NUL and no lone surrogate, and the read is shared with other callers."""
    return isinstance(value, str) and 0 < len(value) <= _MOST_NAME and value.isprintable()


async def verify(token: Token, *, slug: str, tenant_id: int, version: int) -> Proven | None:
    """What the token grants at this tenant; None when it is not, to the letter, what the tenant's issuer would sign."""
    issuer = await _issuers.get(tenant_id, version)
    if issuer is None or not _plausible(token, issuer):
        return None
    claims = _checked(token, issuer, await _keys(token, issuer), resource(slug))
    if claims is None or claims != token.claims or not _names_a_bearer(claims, issuer):
        return None
    return Proven(scopes=_scopes(claims.get(issuer.scope_claim)), client=_client(claims))


def _plausible(token: Token, issuer: Issuer) -> bool:
    """What can be seen without a key, so that no keys are fetched for what could not be right."""
    alg, kind = token.header.get("alg"), token.header.get("typ", "")
    return (
        isinstance(alg, str)
        and alg in issuer.algorithms
        and token.claims.get("iss") == issuer.issuer
        and isinstance(kind, str)
        and kind.lower() in _TYPES
        and all(_is_time(token.claims[name]) for name in _TIMES if name in token.claims)
    )


def _is_time(value: Any) -> bool:
    """A NumericDate (RFC 7519 section 2). PyJWT would take a string of digits too."""
    return isinstance(value, int | float) and not isinstance(value, bool)


async def _keys(token: Token, issuer: Issuer) -> Sequence[keysets.PublicKey]:
    """The issuer's keys that may have signed it; none while they cannot be read."""
    kid = token.header.get("kid")
    if kid is not None and not isinstance(kid, str):
        return ()
    try:
        known = await keysets.keys(issuer.jwks_uri, allow_hosts=private_hosts(issuer.jwks_uri), kid=kid)
    except keysets.KeysUnavailable as problem:
        log.warning("%s: %s", issuer.issuer, problem)
        return ()
    return known.matching(alg=token.header["alg"], kid=kid)


def private_hosts(jwks_uri: str) -> frozenset[str]:
    """Which private hosts the keys may be read from: what the operator allows, or its own where all are allowed."""
    permitted: list[str] = settings.ALLOWED_PRIVATE_HOSTS
    if "*" not in permitted:
        return frozenset(permitted)
    return frozenset([urlsplit(jwks_uri).netloc.rpartition("@")[2]])


def _checked(token: Token, issuer: Issuer, keys: Iterable[keysets.PublicKey], audience: str) -> dict[str, Any] | None:
    for key in keys:
        with contextlib.suppress(jwt.PyJWTError):
            return jwt.decode(
                token.raw,
                key,
                algorithms=[token.header["alg"]],
                audience=audience,
                issuer=issuer.issuer,
                leeway=LEEWAY,
                options={"require": _REQUIRED},
            )
    return None


def _names_a_bearer(claims: Mapping[str, Any], issuer: Issuer) -> bool:
    """Not a token that is bound to a key of the client's (RFC 9449 section 7.1), nor an address nobody confirmed."""
    return "cnf" not in claims and not (issuer.matches == "email" and claims.get("email_verified") is False)


def _scopes(claimed: Any) -> tuple[str, ...]:
    listed = claimed.split() if isinstance(claimed, str) else claimed
    return tuple(one for one in listed if isinstance(one, str)) if isinstance(listed, list) else ()


def _client(claims: Mapping[str, Any]) -> str:
    """Who the token was issued to, for people to read (RFC 9068 section 2.2; `azp` is OpenID's)."""
    found: Any = claims.get("client_id") or claims.get("azp")
    return found if _is_name(found) else ""


async def _load(tenant_id: int) -> tuple[int, Issuer | None]:
    async with db.tenant_transaction(tenant_id) as conn:
        cursor = await conn.execute(
            "SELECT t.catalog_version, i.issuer, i.jwks_uri, i.algorithms, i.claim, i.matches, i.scope_claim"
            " FROM tenants_tenant t LEFT JOIN access_outsideissuer i ON i.tenant_id = t.id AND i.enabled"
            " WHERE t.id = %s",
            [tenant_id],
        )
        row = await cursor.fetchone()
    if row is None or row[1] is None:
        return (row[0] if row else 0), None
    version, issuer, jwks_uri, algorithms, claim, matches, scope_claim = row
    return version, Issuer(
        issuer=issuer,
        jwks_uri=jwks_uri,
        algorithms=frozenset(algorithms).intersection(ALGORITHMS),
        claim=claim,
        matches=matches,
        scope_claim=scope_claim,
    )


_issuers: Versioned[Issuer | None] = Versioned(_load, most=2000)


def issuer_of(tenant_id: int) -> str | None:
    """The issuer that a tenant trusts instead of the hub. Runs inside the tenant's scope."""
    return OutsideIssuer.objects.filter(tenant_id=tenant_id, enabled=True).values_list("issuer", flat=True).first()
