"""Signed assertions: how a client proves itself without a shared secret (private_key_jwt, RFC 7523 section 2.2)."""

import time
import uuid
from typing import Any

import jwt
from django.conf import settings
from django.db import connection

from access import once, refusals
from access.clients import keysets, outbound, throttle
from access.models import AuthMethod, Client
from lib import db

MOST_SECONDS = 300
"""How far ahead an assertion may expire; its id is remembered for longer than that."""
_LEEWAY = 30
_MOST_LENGTH = 8192
_MOST_ID = 255
_IDS = uuid.UUID("8b0c1f0e-5d0a-4a51-9d3f-6f1f2f6f7a31")
"""Of ids that are made of a client's and its own."""
_ALGORITHMS = ("ES256", "EdDSA", "RS256")
_CLAIMS = ["iss", "sub", "aud", "exp", "jti"]
# PyJWT's own, and what its reading lets through: an infinite time, a thousand brackets.
_BROKEN = (jwt.PyJWTError, ArithmeticError, ValueError, TypeError, RecursionError)


class _Refused(Exception):
    """The assertion proves nothing; the message says why, for the ledger."""


def verify(assertion: str, *, address: str) -> str | None:
    """The id of the client that signed this, or None, with an entry that says why.

    Runs outside transactions, before any tenant is in scope: it may fetch the client's keys, and spends the `jti`.
    """
    client_id = _claimed(assertion)
    tenant_id = _tenant_of(client_id)
    try:
        client = _client(client_id, tenant_id)
        claims = _checked(assertion, client, address)
        _spend(client_id, claims["jti"])
    except _Refused as problem:
        refusals.record(
            tenant_id=tenant_id,
            reason="assertion_refused",
            client=client_id,
            address=address,
            detail={"why": str(problem)},
        )
        return None
    return client_id


def _claimed(assertion: str) -> str:
    """Who it says it is from, unproven: only good for finding whose keys to check it with. Empty for nonsense."""
    if len(assertion) > _MOST_LENGTH:
        return ""
    try:
        subject = jwt.decode(assertion, options={"verify_signature": False}).get("sub")
    except _BROKEN:
        return ""
    known = isinstance(subject, str) and len(subject) <= 255 and subject.isascii() and "\x00" not in subject
    return str(subject) if known else ""


def _tenant_of(client_id: str) -> int | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT access_opens('{}'::text[], %s)", [client_id])
        found = cursor.fetchone()[0]
    return None if found is None else int(found)


def _client(client_id: str, tenant_id: int | None) -> Client:
    if not client_id:
        raise _Refused("it is not a JWT that names a client in `sub`")
    with db.tenant_scope([] if tenant_id is None else [tenant_id]):
        client = Client.objects.filter(client_id=client_id).first()
    if client is None or not client.live:
        raise _Refused("there is no such client")
    if client.auth_method != AuthMethod.JWT:
        raise _Refused("this client does not prove itself by assertions")
    return client


def _checked(assertion: str, client: Client, address: str) -> dict[str, Any]:
    """The claims, once a key of the client's turns out to have signed them. Raises _Refused."""
    try:
        header = jwt.get_unverified_header(assertion)
    except _BROKEN as problem:
        raise _Refused(str(problem)) from None
    alg, kid = header.get("alg"), header.get("kid")
    if alg not in _ALGORITHMS:
        raise _Refused(f"its alg is none of {', '.join(_ALGORITHMS)}")
    why = "none of the client's keys has this kid and alg"
    for key in _keys(client, kid, address).matching(alg=alg, kid=kid):
        try:
            return _decoded(assertion, key, alg, client.client_id)
        except jwt.InvalidSignatureError:
            why = "its signature is wrong"
        except _BROKEN as problem:
            why = str(problem)
    raise _Refused(why)


def _decoded(assertion: str, key: keysets.PublicKey, alg: str, client_id: str) -> dict[str, Any]:
    """RFC 7523 section 3. The audience is the issuer (as the SDKs send it) or the token endpoint."""
    claims: dict[str, Any] = jwt.decode(
        assertion,
        key,
        algorithms=[alg],
        audience=[settings.BASE_URL, f"{settings.BASE_URL}/token"],
        issuer=client_id,
        subject=client_id,
        leeway=_LEEWAY,
        options={"require": _CLAIMS},
    )
    if int(claims["exp"]) > time.time() + MOST_SECONDS + _LEEWAY:
        raise _Refused(f"it expires more than {MOST_SECONDS} seconds from now")
    return claims


def _keys(client: Client, kid: str | None, address: str) -> keysets.KeySet:
    try:
        if client.jwks_uri:
            allowed = frozenset(settings.CLIENT_DOCUMENT_HOSTS)
            known = keysets.of_documents if client.tenant_id is None else keysets.of_machines
            source = throttle.source(address)
            return outbound.wait(lambda: known.keys(client.jwks_uri, allow_hosts=allowed, kid=kid, source=source))
        return keysets.parse(client.jwks)
    except keysets.KeysUnavailable as problem:
        raise _Refused(str(problem)) from None


def _spend(client_id: str, jti: str) -> None:
    """Each assertion works once, for as long as one may live and longer."""
    if len(jti) > _MOST_ID or not jti.isprintable():
        raise _Refused(f"its jti is longer than {_MOST_ID} characters, or not printable")
    span = 2.0 * (MOST_SECONDS + _LEEWAY)
    if not once.spend_here(uuid.uuid5(_IDS, f"{client_id} {jti}"), span=span):
        raise _Refused("it was used before")
