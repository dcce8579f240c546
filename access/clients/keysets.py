"""Public keys of others (JWKS, RFC 7517): parsed strictly, fetched with the guard, kept, rotated."""

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from access.clients import outbound
from lib import fetch

FRESH_SECONDS = 600.0
AGAIN_SECONDS = 30.0
"""How long a failure, or the last search for an unknown key, keeps the next one waiting."""
GOOD_SECONDS = 24 * 3600.0
"""How long the last good set serves while its address cannot be read."""
_SECONDS = 5.0
_MOST_BYTES = 64 * 1024
_MOST_KEYS = 50
_MOST_SETS = 1000
_MOST_AT_ONCE = 20
_MOST_OF_ONE = 2
_LEAST_RSA_BITS = 2048
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_MEMBERS = ("kty", "crv", "x", "y", "n", "e", "kid", "alg", "use")
_CURVES = {"secp256r1": frozenset({"ES256"}), "secp384r1": frozenset({"ES384"}), "secp521r1": frozenset({"ES512"})}

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


class KeysUnavailable(Exception):
    """The keys cannot be had; the message says why, for an admin."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyingKey:
    """One public key and the algorithms whose signatures it may check; by its kind, never by what a token claims."""

    kid: str | None
    algorithms: frozenset[str]
    key: PublicKey
    jwk: Mapping[str, str]
    """The members it was made of."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one owner that can check signatures."""

    keys: tuple[VerifyingKey, ...]

    @property
    def public(self) -> dict[str, Any]:
        """The set as a JWKS with nothing in it but what was understood, which is plain text: fit to be kept."""
        return {"keys": [dict(one.jwk) for one in self.keys]}

    def knows(self, kid: str) -> bool:
        """Whether a key of that id is in it."""
        return any(one.kid == kid for one in self.keys)

    def matching(self, *, alg: str, kid: str | None) -> list[PublicKey]:
        """The keys that may have made a signature with this header, which is the token's own word and unproven."""
        return [one.key for one in self.keys if alg in one.algorithms and (kid is None or one.kid == kid)]


def parse(document: object) -> KeySet:
    """A JWKS as a JSON value. Keys that cannot check signatures are left out (RFC 7517 section 5).

    Raises KeysUnavailable when it is no key set or nothing usable is left.
    """
    listed = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(listed, list) or len(listed) > _MOST_KEYS:
        raise KeysUnavailable(f'This is not a key set: an object with "keys", a list of at most {_MOST_KEYS}.')
    keys = tuple(key for one in listed if isinstance(one, Mapping) and (key := _usable(one)) is not None)
    if not keys:
        raise KeysUnavailable(
            "The key set has no key the hub can use: RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519."
        )
    return KeySet(keys)


def _usable(jwk: Mapping[str, Any]) -> VerifyingKey | None:
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    # A set with private or shared keys in it was published by mistake; nothing signed with those proves anything.
    if jwk.get("kty") not in ("RSA", "EC", "OKP") or "d" in jwk:
        return None
    members = {name: jwk[name] for name in _MEMBERS if isinstance(jwk.get(name), str)}
    if not all(value.isprintable() for value in members.values()):
        return None
    try:
        key = jwt.PyJWK(dict(jwk)).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    algorithms = _algorithms(key)
    if "alg" in jwk:
        algorithms &= {jwk["alg"]} if isinstance(jwk["alg"], str) else set()
    return VerifyingKey(kid=members.get("kid"), algorithms=algorithms, key=key, jwk=members) if algorithms else None


def _algorithms(key: object) -> frozenset[str]:
    match key:
        case RSAPublicKey(key_size=bits):
            return _RSA if bits >= _LEAST_RSA_BITS else frozenset()
        case EllipticCurvePublicKey(curve=curve):
            return _CURVES.get(curve.name, frozenset())
        case Ed25519PublicKey():
            return frozenset({"EdDSA"})
    return frozenset()


@dataclass(slots=True)
class _Kept:
    keys: KeySet | None = None
    read_at: float = 0.0
    failed_at: float | None = None
    searched_at: float | None = None
    failure: str = ""

    def serves(self, now: float, kid: str | None) -> bool:
        """Whether nothing need be read: fresh and with the key, or tried too recently to try again."""
        if self.failed_at is not None and now - self.failed_at < AGAIN_SECONDS:
            return True
        if self.keys is None or now - self.read_at >= FRESH_SECONDS:
            return False
        searched = self.searched_at is not None and now - self.searched_at < AGAIN_SECONDS
        return kid is None or self.keys.knows(kid) or searched

    def good(self, now: float) -> KeySet:
        if self.keys is None or now - self.read_at >= GOOD_SECONDS:
            raise KeysUnavailable(self.failure)
        return self.keys


_Place = tuple[str, frozenset[str]]


class KeySets:
    """Key sets by address. Each use has its own: who makes the hub read many sets of one sort, or slow ones, neither
    pushes out nor holds up those of another."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Place, _Kept] = OrderedDict()
        self._flights: outbound.SingleFlight[None] = outbound.SingleFlight(most=_MOST_AT_ONCE)
        self._turns = outbound.Turns(each=_MOST_OF_ONE)

    async def keys(
        self, uri: str, *, allow_hosts: frozenset[str], kid: str | None = None, source: str | None = None
    ) -> KeySet:
        """The set at an address: kept for ten minutes, read again at once (every 30 s at most) for an unknown `kid`,
        and served for up to a day while it cannot be read. Keep it off transactions; raises KeysUnavailable.

        source: who makes the hub read, as throttle.source names them. One reads few sets at once, so that slow ones
        leave room for everybody else; None where only admins say what is read.
        """
        place = (uri, allow_hosts)
        kept = self._kept.setdefault(place, _Kept())
        self._kept.move_to_end(place)
        while len(self._kept) > _MOST_SETS:
            self._kept.popitem(last=False)
        if not kept.serves(time.monotonic(), kid):
            try:
                turn = None if source is None else self._turns.taken(source, uri)
                await self._flights.run(place, lambda: _refresh(kept, uri, allow_hosts, kid), turn=turn)
            except outbound.Busy:
                kept.failure = kept.failure or "The hub is reading many key sets right now; try again in a moment."
        return kept.good(time.monotonic())


async def _refresh(kept: _Kept, uri: str, allow_hosts: frozenset[str], kid: str | None) -> None:
    searching = kept.keys is not None and kid is not None and not kept.keys.knows(kid)
    kept.searched_at = time.monotonic() if searching else kept.searched_at
    try:
        kept.keys = await _read(uri, allow_hosts)
        kept.read_at, kept.failed_at = time.monotonic(), None
    except (KeysUnavailable, fetch.FetchError) as problem:
        kept.failed_at, kept.failure = time.monotonic(), f"The keys cannot be read: {problem}"


async def _read(uri: str, allow_hosts: frozenset[str]) -> KeySet:
    answer = await outbound.read(
        uri, accept="application/jwk-set+json, application/json", seconds=_SECONDS, most_bytes=_MOST_BYTES,
        allow_hosts=allow_hosts,
    )  # fmt: skip
    if answer.status != 200:
        raise KeysUnavailable(f"the answer was {answer.status} instead of 200.")
    try:
        return parse(orjson.loads(answer.body))
    except orjson.JSONDecodeError:
        raise KeysUnavailable("the answer is not JSON.") from None


of_machines = KeySets()
"""Of clients that a tenant's admin made."""
of_documents = KeySets()
"""Of clients that a metadata document describes, which strangers write."""
keys = KeySets().keys
"""Of the issuers that tenants trust."""
