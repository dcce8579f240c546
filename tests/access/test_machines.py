"""Machines: what an admin makes, and how one proves itself with a signature."""

import asyncio
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection

from access.actions.clients import change_client, create_machine, disable_client, rotate_secret
from access.clients import assertions, keysets, outbound
from access.models import AccessToken, AuthMethod, Client, digest_of
from audit.models import Entry
from tests import tokens
from tests.cast import Cast
from tests.documents import Answer, Documents
from tests.postgres import lose_what_is_not_logged
from tests.waiting import until

SCOPES = {"tickets.read": "Read tickets", "tickets.write": "Change tickets"}


@dataclass
class Signer:
    """A machine's private key and how it is told to the hub."""

    key: Any
    alg: str
    kid: str = "k1"

    @property
    def jwk(self) -> dict[str, Any]:
        algorithm = jwt.get_algorithm_by_name(self.alg)
        return {**algorithm.to_jwk(self.key.public_key(), as_dict=True), "kid": self.kid}

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [self.jwk]}

    def sign(self, client_id: str, *, headers: dict[str, Any] | None = None, **changed: Any) -> str:
        now = int(time.time())
        usual = {
            "iss": client_id,
            "sub": client_id,
            "aud": settings.BASE_URL,
            "exp": now + 60,
            "jti": secrets.token_hex(8),
        }
        claims = {name: value for name, value in {**usual, **changed}.items() if value is not ...}
        return jwt.encode(claims, self.key, algorithm=self.alg, headers={"kid": self.kid, **(headers or {})})


def es256() -> Signer:
    return Signer(ec.generate_private_key(ec.SECP256R1()), "ES256")


def machine(cast: Cast, **fields: Any) -> tuple[Client, str | None]:
    cast.scopes(cast.acme, SCOPES)
    member = cast.member(cast.acme, cast.uma)
    given = {"name": "nightly", "scopes": ["tickets.read"], "auth_method": AuthMethod.BASIC, "actor": "olga", **fields}
    with cast.see(cast.acme):
        return create_machine(member, **given)


def signing(cast: Cast, signer: Signer, **fields: Any) -> Client:
    return machine(cast, auth_method=AuthMethod.JWT, jwks=signer.jwks, **fields)[0]


def verify(assertion: str, *, address: str = "192.0.2.1") -> str | None:
    return assertions.verify(assertion, address=address)


def described(uri: str) -> Client:
    """A client of a stranger's, who says where its keys are."""
    return tokens.client(
        client_id=f"https://{secrets.token_hex(4)}.example/c", registration_source="cimd",
        client_type="confidential", auth_method=AuthMethod.JWT, jwks_uri=uri,
    )  # fmt: skip


def why(cast: Cast) -> list[str]:
    with cast.see(cast.acme):
        found = Entry.objects.filter(tenant_id=cast.acme.pk, reason="assertion_refused").order_by("id")
        return [entry.detail["why"] for entry in found if entry.detail]


def test_a_machine_acts_as_its_member_and_its_secret_is_kept_as_a_digest(cast: Cast) -> None:
    client, secret = machine(cast)
    assert secret is not None
    assert (client.client_secret, client.hash_client_secret) == (digest_of(secret), False)
    assert (client.tenant, client.scopes, client.client_type) == (cast.acme, ["tickets.read"], "confidential")
    with cast.see(cast.acme):
        entry = Entry.objects.get(tenant_id=cast.acme.pk, subject__startswith=f"access.Client:{client.pk} ")
    assert digest_of(secret) not in str(entry.detail)


def test_a_machine_gets_no_scope_that_its_member_may_not_hold(cast: Cast) -> None:
    with pytest.raises(ValidationError):
        machine(cast, scopes=["tickets.burn"])
    with pytest.raises(ValidationError):
        machine(cast, auth_method=AuthMethod.NONE)
    with pytest.raises(ValidationError):
        machine(cast, auth_method=AuthMethod.JWT)


def test_a_new_secret_and_narrower_scopes_end_the_tokens_a_machine_has(cast: Cast) -> None:
    client, old = machine(cast)
    member = cast.member(cast.acme, cast.uma)

    def live() -> int:
        return AccessToken.objects.filter(application=client).count()

    with cast.see(cast.acme):
        tokens._token(member, client, "tickets.read")
        new = rotate_secret(client, actor="olga")
        assert live() == 0
        client.refresh_from_db()
        assert client.client_secret == digest_of(new) != digest_of(old or "")
        tokens._token(member, client, "tickets.read")
        client.scopes = ["tickets.write"]
        assert change_client(client, actor="olga")
        assert live() == 0
        assert not change_client(client, actor="olga")


@pytest.mark.parametrize(
    "make",
    [
        es256,
        lambda: Signer(ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
        lambda: Signer(rsa.generate_private_key(65537, 2048), "RS256"),
    ],
)
def test_a_signed_assertion_proves_its_client_once(cast: Cast, make: Callable[[], Signer]) -> None:
    signer = make()
    client = signing(cast, signer)
    assertion = signer.sign(client.client_id)
    assert verify(assertion) == client.client_id
    assert verify(assertion) is None
    assert why(cast) == ["it was used before"]
    assert verify(signer.sign(client.client_id, aud=[f"{settings.BASE_URL}/token"])) == client.client_id


def test_an_assertion_that_was_used_stays_so_when_postgres_crashes(cast: Cast) -> None:
    signer = es256()
    client = signing(cast, signer)
    assertion = signer.sign(client.client_id)
    assert verify(assertion) == client.client_id
    lose_what_is_not_logged()
    assert verify(assertion) is None
    assert why(cast) == ["it was used before"]


CLAIMS: list[dict[str, Any]] = [
    {"aud": "https://other.example"},
    {"aud": "http://localhost"},
    {"aud": ...},
    {"iss": "somebody else"},
    {"iss": ...},
    {"exp": ...},
    {"exp": lambda now: now - 60},
    {"exp": lambda now: now + 3600},
    {"exp": float("inf")},
    {"exp": "soon"},
    {"nbf": lambda now: now + 600},
    {"jti": ...},
    {"jti": 7},
    {"jti": "\ud800"},
    {"jti": "\0"},
    {"jti": "x" * 256},
]


@pytest.mark.parametrize("changed", CLAIMS)
def test_an_assertion_for_another_time_or_place_is_refused_with_an_entry(cast: Cast, changed: dict[str, Any]) -> None:
    signer = es256()
    client = signing(cast, signer)
    claims = {name: one(int(time.time())) if callable(one) else one for name, one in changed.items()}
    assert verify(signer.sign(client.client_id, **claims)) is None
    assert len(why(cast)) == 1


def test_only_the_clients_own_key_and_algorithm_count(cast: Cast) -> None:
    signer, other = es256(), es256()
    client = signing(cast, signer)
    assert verify(other.sign(client.client_id)) is None
    shared = jwt.encode({"sub": client.client_id}, "public key taken for a secret" * 2, algorithm="HS256")
    assert verify(shared) is None
    assert verify(jwt.encode({"sub": client.client_id}, "", algorithm="none")) is None
    assert verify(signer.sign(client.client_id, headers={"kid": "k2"})) is None
    assert why(cast)[0] == "its signature is wrong"
    assert len(why(cast)) == 4


@pytest.mark.parametrize(
    "nonsense", ["", "a.b.c", "x" * 10000, "eyJhbGciOiJFUzI1NiJ9." + "W1tb" * 2000 + ".c2ln", "é.é.é"]
)
def test_nonsense_proves_nothing(nonsense: str) -> None:
    assert verify(nonsense) is None


def test_a_blocked_machine_and_one_with_a_secret_prove_nothing_by_signing(cast: Cast) -> None:
    signer = es256()
    client = signing(cast, signer)
    with cast.see(cast.acme):
        disable_client(client, actor="olga")
    assert verify(signer.sign(client.client_id)) is None
    with_secret, _ = machine(cast)
    assert verify(signer.sign(with_secret.client_id)) is None


def test_a_signers_keys_are_read_from_their_address_and_a_new_one_at_once(cast: Cast, documents: Documents) -> None:
    signer, path = es256(), f"/keys/{secrets.token_hex(4)}"
    uri = documents.json(path, signer.jwks)
    client, _ = machine(cast, auth_method=AuthMethod.JWT, jwks_uri=uri)
    for _ in range(3):
        assert verify(signer.sign(client.client_id)) == client.client_id
    assert documents.count(path) == 1
    rotated = es256()
    rotated.kid = "k2"
    documents.json(path, {"keys": [rotated.jwk]})
    assert verify(rotated.sign(client.client_id)) == client.client_id
    for _ in range(3):  # who makes key ids up does not make the hub read again and again
        assert verify(rotated.sign(client.client_id, headers={"kid": secrets.token_hex(4)})) is None
    assert documents.count(path) == 2


def test_strangers_keys_push_out_neither_those_of_machines_nor_those_of_issuers(
    cast: Cast, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keysets, "_MOST_SETS", 1)
    signer, uris = es256(), [documents.json(f"/keys/{secrets.token_hex(4)}", es256().jwks) for _ in range(3)]
    documents.json(uris[0].removeprefix(documents.origin), signer.jwks)
    documents.json(uris[1].removeprefix(documents.origin), signer.jwks)
    here, _ = machine(cast, auth_method=AuthMethod.JWT, jwks_uri=uris[0])
    stranger = described(uris[1])
    allowed = frozenset(settings.CLIENT_DOCUMENT_HOSTS)
    for _ in range(2):
        assert verify(signer.sign(here.client_id)) == here.client_id
        assert verify(signer.sign(stranger.client_id)) == stranger.client_id
        outbound.wait(lambda: keysets.keys(uris[2], allow_hosts=allowed))
    assert [documents.count(uri.removeprefix(documents.origin)) for uri in uris] == [1, 1, 1]


def test_slow_key_servers_asked_for_by_one_address_keep_nobody_else_waiting(cast: Cast, documents: Documents) -> None:
    gate, signer, name = threading.Event(), es256(), secrets.token_hex(4)
    slow = [documents.serve(f"/keys/{name}-{n}", Answer(b"{}", gate=gate)) for n in range(2)]
    wanted = described(documents.json(f"/keys/{name}", signer.jwks))
    network = f"2001:db8:{secrets.token_hex(2)}:1::"

    def ask(uri: str, address: str) -> str | None:
        try:
            return verify(signer.sign(described(uri).client_id), address=address)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        try:
            waiting = [threads.submit(ask, uri, f"{network}{n}") for n, uri in enumerate(slow)]
            until(lambda: [documents.count(f"/keys/{name}-{n}") for n in range(2)] == [1, 1])
            assert verify(signer.sign(wanted.client_id), address=f"{network}9") is None
            assert documents.count(f"/keys/{name}") == 0
            assert verify(signer.sign(wanted.client_id), address="192.0.2.1") == wanted.client_id
            assert verify(signer.sign(wanted.client_id), address=f"{network}9"), "what is kept need not be read"
        finally:
            gate.set()
    assert [one.result() for one in waiting] == [None, None]
    again = described(documents.json(f"/keys/{name}-again", signer.jwks))
    assert verify(signer.sign(again.client_id), address=f"{network}9"), "when they are through, the next may be read"


def test_who_hangs_up_does_not_make_the_hub_read_more_at_once() -> None:
    async def ask() -> None:
        flights: outbound.SingleFlight[bool] = outbound.SingleFlight(most=9)
        turns, gate = outbound.Turns(each=2), asyncio.Event()

        async def begin(thing: str) -> None:
            await flights.run(thing, gate.wait, turn=turns.taken("one", thing))

        for thing in ("a", "b"):
            task = asyncio.create_task(begin(thing))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        with pytest.raises(outbound.Busy):
            await asyncio.wait_for(begin("c"), 5)
        gate.set()
        await begin("a")
        await begin("c")

    asyncio.run(ask())


PRIVATE = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ", "alg": "HS256"}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"keys": {}},
        {"keys": []},
        {"keys": [PRIVATE]},
        {"keys": ["x", {"kty": "EC"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}]},
        {"keys": [{**es256().jwk, "use": "enc"}]},
        {"keys": [{**es256().jwk, "key_ops": 5}]},
        {"keys": [{**es256().jwk, "alg": "HS256"}]},
        {"keys": [es256().jwk] * 51},
    ],
)
def test_a_set_without_a_usable_public_key_is_none(document: object) -> None:
    with pytest.raises(keysets.KeysUnavailable):
        keysets.parse(document)
