"""Tokens of an authorization server that a tenant trusts instead of the hub: only what it would sign, to the letter."""

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.conf import settings
from django.utils import timezone

from access import outside
from access.models import OutsideIssuer
from lib import db, fetch
from tenants.models import Member, User
from tests.cast import Cast
from tests.host import Host
from tests.ledger import refusals
from tests.serving import Handler, served
from tests.waiting import until

# Made once: an RSA key takes a tenth of a second.
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    public = key.public_key()
    if isinstance(key, rsa.RSAPrivateKey):
        made = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    else:
        made = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    return {**made, "kid": kid, "use": "sig", **more}


@dataclass
class Elsewhere:
    """An authorization server elsewhere: publishes its keys, and signs whatever a test wants signed."""

    url: str
    keys: list[dict[str, Any]] = field(default_factory=lambda: [jwk(RSA, "one"), jwk(CURVE, "curve")])
    reads: int = 0
    status: int = 200

    def token(
        self, host: Host, user: User, *, key: Any = RSA, header: Any = None, alg: str = "RS256", **claims: Any
    ) -> str:
        """A good token for this host's endpoint, unless `claims` (None leaves one out) or `header` say otherwise."""
        now = int(timezone.now().timestamp())
        usual = {
            "iss": self.url,
            "sub": user.username,
            "aud": host.url,
            "iat": now,
            "exp": now + 300,
            "scope": "tickets.read",
            "client_id": "their-client",
        }
        said = {name: value for name, value in (usual | claims).items() if value is not None}
        headers = {"kid": "one", "typ": "at+jwt"} | (header or {})
        return jwt.encode(said, key, algorithm=alg, headers={name: one for name, one in headers.items() if one})


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    class Keys(Handler):
        def do_GET(self) -> None:
            made.reads += 1
            self.give(json.dumps({"keys": made.keys}).encode(), made.status)

    with served(Keys) as origin:
        made = Elsewhere(origin)
        yield made


@pytest.fixture
def host(hub: list[str], cast: Cast) -> Host:
    cast.scopes(cast.acme, {"tickets.read": "Read", "tickets.write": "Write", "admin.all": "All"})
    with cast.see(cast.acme):
        cast.acme.scopes.filter(name="admin.all").update(roles=["admin"])
    cast.tool(cast.acme, "echo", scopes=["tickets.read"])
    return Host(hub[0], cast.acme.slug)


def trust(cast: Cast, elsewhere: Elsewhere, **fields: Any) -> OutsideIssuer:
    with cast.see(cast.acme):
        return OutsideIssuer.objects.create(
            tenant=cast.acme, issuer=elsewhere.url, jwks_uri=f"{elsewhere.url}/keys/{secrets.token_hex(4)}", **fields
        )


def says(host: Host, token: str) -> int:
    host.key = token
    return host.call("echo", {"text": "x"}).status


def test_a_token_of_the_trusted_issuer_is_its_member_with_its_scopes(
    cast: Cast, host: Host, elsewhere: Elsewhere
) -> None:
    from audit.models import Entry

    trust(cast, elsewhere)
    assert says(host, elsewhere.token(host, cast.uma)) == 200
    with cast.see(cast.acme):
        entry = Entry.objects.filter(tenant_id=cast.acme.pk, event="call.started").get()
    member = cast.member(cast.acme, cast.uma)
    assert (entry.actor, entry.credential) == (cast.uma.username, f"outside:{member.pk}")


def test_scopes_are_cut_to_what_the_role_may_hold(cast: Cast, host: Host, elsewhere: Elsewhere) -> None:
    trust(cast, elsewhere)
    cast.tool(cast.acme, "shout", scopes=["admin.all"])
    cast.tool(cast.acme, "again", config={"function": "echo"}, scopes=["tickets.write"])
    host.key = elsewhere.token(host, cast.uma, scope="tickets.read admin.all")
    assert host.tools() == ["again", "echo"]
    assert host.call("shout", {"text": "x"}).error["code"] == -32602
    assert host.call("again", {"text": "x"}).status == 403


@pytest.mark.parametrize(
    ("claim", "value", "status"),
    [
        ("scp", "tickets.read", 200),
        ("scp", ["tickets.read", 7], 200),
        ("scp", None, 403),
        ("scp", {"tickets.read": True}, 403),
        ("scp", "tickets.reader", 403),
        ("scope", "tickets.read", 403),
    ],
)
def test_scopes_are_read_from_the_claim_the_tenant_names(
    cast: Cast, host: Host, elsewhere: Elsewhere, claim: str, value: Any, status: int
) -> None:
    trust(cast, elsewhere, scope_claim="scp")
    assert says(host, elsewhere.token(host, cast.uma, **{"scope": None, claim: value})) == status


def seconds(ahead: int) -> int:
    return int(timezone.now().timestamp()) + ahead


def pem(key: Any) -> bytes:
    kind, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    encoded: bytes = key.public_key().public_bytes(kind, form)
    return encoded


def hmacked(elsewhere: Elsewhere, host: Host, user: User, **header: Any) -> str:
    """The classic: the public key taken for a shared secret. Signed by hand, as PyJWT refuses to.

    header: what it says instead of HS256, or besides.
    """
    import base64
    import hashlib
    import hmac

    signed = elsewhere.token(host, user).split(".")
    says = json.dumps({"alg": "HS256", "kid": "one"} | header)
    headed = base64.urlsafe_b64encode(says.encode()).rstrip(b"=").decode()
    mac = hmac.new(pem(RSA), f"{headed}.{signed[1]}".encode(), hashlib.sha256).digest()
    return f"{headed}.{signed[1]}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def swapped(elsewhere: Elsewhere, host: Host, cast: Cast) -> str:
    """One token's signature under another's claims."""
    mine, theirs = elsewhere.token(host, cast.uma).split("."), elsewhere.token(host, cast.olga).split(".")
    return ".".join([mine[0], theirs[1], mine[2]])


Make = Callable[[Elsewhere, Host, Cast], str]

ACCEPTED: dict[str, Make] = {
    "as usual": lambda e, h, c: e.token(h, c.uma),
    "audience in a list": lambda e, h, c: e.token(h, c.uma, aud=["https://other.example", h.url]),
    "expired within the leeway": lambda e, h, c: e.token(h, c.uma, exp=seconds(-20)),
    "expires within a second": lambda e, h, c: e.token(h, c.uma, exp=seconds(300) + 0.5),
    "not before, within the leeway": lambda e, h, c: e.token(h, c.uma, nbf=seconds(20)),
    "an elliptic curve": lambda e, h, c: e.token(h, c.uma, key=CURVE, alg="ES256", header={"kid": "curve"}),
    "without a key id": lambda e, h, c: e.token(h, c.uma, header={"kid": None}),
    "typed as JWT": lambda e, h, c: e.token(h, c.uma, header={"typ": "JWT"}),
}
HOSTILE: dict[str, Make] = {
    "alg none": lambda e, h, c: e.token(h, c.uma, key=None, alg="none"),
    "no signature": lambda e, h, c: e.token(h, c.uma).rpartition(".")[0] + ".",
    "HS256 with the public key": lambda e, h, c: hmacked(e, h, c.uma),
    "a list of algorithms": lambda e, h, c: hmacked(e, h, c.uma, alg=["RS256"]),
    "an algorithm that is an object": lambda e, h, c: hmacked(e, h, c.uma, alg={"a": 1}),
    "another's key": lambda e, h, c: e.token(h, c.uma, key=OTHER),
    "another's key in its header": lambda e, h, c: e.token(
        h, c.uma, key=OTHER, header={"jwk": jwk(OTHER, "one"), "jku": f"{e.url}/evil"}
    ),
    "another token's signature": lambda e, h, c: swapped(e, h, c),
    "an algorithm that is not listed": lambda e, h, c: e.token(h, c.uma, alg="RS512"),
    "the wrong kind of key": lambda e, h, c: e.token(h, c.uma, header={"kid": "curve"}),
    "an unknown key id": lambda e, h, c: e.token(h, c.uma, header={"kid": "nobody's"}),
    "another issuer": lambda e, h, c: e.token(h, c.uma, iss="https://evil.example"),
    "the issuer with a slash": lambda e, h, c: e.token(h, c.uma, iss=f"{e.url}/"),
    "no issuer": lambda e, h, c: e.token(h, c.uma, iss=None),
    "no audience": lambda e, h, c: e.token(h, c.uma, aud=None),
    "a prefix of the audience": lambda e, h, c: e.token(h, c.uma, aud=h.url.removesuffix("/mcp")),
    "more than the audience": lambda e, h, c: e.token(h, c.uma, aud=f"{h.url}/x"),
    "another tenant's audience": lambda e, h, c: e.token(h, c.uma, aud=h.url.replace("acme-", "beta-")),
    "a list of other audiences": lambda e, h, c: e.token(h, c.uma, aud=[h.url + "/", h.base]),
    "an empty list": lambda e, h, c: e.token(h, c.uma, aud=[]),
    "expired": lambda e, h, c: e.token(h, c.uma, exp=seconds(-40)),
    "an expiry in a string": lambda e, h, c: e.token(h, c.uma, exp=str(seconds(300))),
    "an expiry that never comes": lambda e, h, c: e.token(h, c.uma, exp=float("inf")),
    "not before, in a string": lambda e, h, c: e.token(h, c.uma, nbf=str(seconds(-60))),
    "not before true": lambda e, h, c: e.token(h, c.uma, nbf=True),
    "issued at no number": lambda e, h, c: e.token(h, c.uma, iat=str(seconds(-60))),
    "no expiry": lambda e, h, c: e.token(h, c.uma, exp=None),
    "not before later": lambda e, h, c: e.token(h, c.uma, nbf=seconds(60)),
    "issued later": lambda e, h, c: e.token(h, c.uma, iat=seconds(60)),
    "bound to a key": lambda e, h, c: e.token(h, c.uma, cnf={"jkt": "x"}),
    "of another type": lambda e, h, c: e.token(h, c.uma, header={"typ": "logout+jwt"}),
    "critical extensions": lambda e, h, c: e.token(h, c.uma, header={"crit": ["unheard-of"], "unheard-of": 1}),
    "nobody": lambda e, h, c: e.token(h, c.uma, sub=None),
    "somebody unknown": lambda e, h, c: e.token(h, c.uma, sub="nobody-of-that-name"),
    "a name that is no string": lambda e, h, c: e.token(h, c.uma, sub=[c.uma.username]),
    "a NUL in the name": lambda e, h, c: e.token(h, c.uma, sub=f"{c.uma.username}\x00"),
    "a lone surrogate": lambda e, h, c: e.token(h, c.uma, sub="\ud800"),
    "another tenant's member": lambda e, h, c: e.token(h, c.bob),
    "very long": lambda e, h, c: e.token(h, c.uma, filler="x" * 20_000),
}


@pytest.mark.parametrize("sort", ACCEPTED)
def test_what_the_issuer_signs_for_this_endpoint_is_let_in(
    cast: Cast, host: Host, elsewhere: Elsewhere, sort: str
) -> None:
    trust(cast, elsewhere)
    assert says(host, ACCEPTED[sort](elsewhere, host, cast)) == 200


@pytest.mark.parametrize("sort", HOSTILE)
def test_everything_else_is_refused_and_leaves_an_entry(
    cast: Cast, host: Host, elsewhere: Elsewhere, sort: str
) -> None:
    trust(cast, elsewhere)
    host.key = HOSTILE[sort](elsewhere, host, cast)
    answer = host.call("echo", {"text": "x"})
    assert answer.status == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert turned_away(cast) == ["unknown_credential"]
    assert says(host, elsewhere.token(host, cast.uma)) == 200, "and nobody else is harmed"


def test_only_what_was_signed_is_believed_and_not_what_was_read_at_the_door(cast: Cast, elsewhere: Elsewhere) -> None:
    """Two readings of one token must never differ; should they, the signature speaks for one of them only."""
    trust(cast, elsewhere)
    host = Host(settings.BASE_URL, cast.acme.slug)
    mine, theirs = (outside.read(elsewhere.token(host, user)) for user in (cast.uma, cast.olga))
    assert mine
    assert theirs

    async def verified(token: outside.Token) -> bool:
        async with db.open_pool(size=2):
            try:
                here = {"tenant_id": cast.acme.pk, "version": cast.acme.catalog_version}
                return await outside.verify(token, slug=cast.acme.slug, **here) is not None
            finally:
                await fetch.close()

    assert asyncio.run(verified(mine))
    assert not asyncio.run(verified(replace(mine, claims=theirs.claims)))


def turned_away(cast: Cast) -> list[str]:
    """Nobody waits for these entries, so they may land after the answer."""
    return [entry.reason for entry in until(lambda: refusals(cast, cast.acme))]


def test_without_trust_no_outside_token_counts(cast: Cast, host: Host, elsewhere: Elsewhere) -> None:
    assert says(host, elsewhere.token(host, cast.uma)) == 401
    assert elsewhere.reads == 0


def test_trust_ends_with_the_next_request(cast: Cast, host: Host, elsewhere: Elsewhere) -> None:
    issuer = trust(cast, elsewhere)
    token = elsewhere.token(host, cast.uma)
    assert says(host, token) == 200
    for change, status in (({"enabled": False}, 401), ({"enabled": True}, 200), ({"algorithms": ["ES256"]}, 401)):
        with cast.see(cast.acme):
            OutsideIssuer.objects.filter(pk=issuer.pk).update(**change)
        assert says(host, token) == status


def test_the_issuer_of_one_tenant_is_nothing_to_another(cast: Cast, hub: list[str], elsewhere: Elsewhere) -> None:
    trust(cast, elsewhere)
    beta = Host(hub[0], cast.beta.slug)
    assert says(beta, elsewhere.token(beta, cast.bob)) == 401


@pytest.mark.parametrize("taken", ["member", "user"])
def test_an_inactive_member_or_user_is_refused(cast: Cast, host: Host, elsewhere: Elsewhere, taken: str) -> None:
    trust(cast, elsewhere)
    token = elsewhere.token(host, cast.uma)
    assert says(host, token) == 200
    with cast.see(cast.acme):
        if taken == "member":
            Member.objects.filter(user=cast.uma).update(active=False)
        else:
            User.objects.filter(pk=cast.uma.pk).update(is_active=False)
    assert says(host, token) == 401


def test_people_are_found_by_address_when_the_tenant_says_so(cast: Cast, host: Host, elsewhere: Elsewhere) -> None:
    trust(cast, elsewhere, claim="mail", matches="email")
    token = elsewhere.token(host, cast.uma, mail=cast.uma.email.upper())
    assert says(host, token) == 200
    assert says(host, elsewhere.token(host, cast.uma, mail=cast.uma.email, email_verified=False)) == 401
    assert says(host, elsewhere.token(host, cast.uma, mail="")) == 401
    assert says(host, elsewhere.token(host, cast.uma)) == 401, "the subject is not looked at"


def test_an_address_that_two_members_have_is_nobodys(cast: Cast, host: Host, elsewhere: Elsewhere) -> None:
    trust(cast, elsewhere, claim="email", matches="email")
    token = elsewhere.token(host, cast.uma, email=cast.uma.email)
    assert says(host, token) == 200
    User.objects.filter(pk=cast.anna.pk).update(email=cast.uma.email.title())
    assert says(host, token) == 401
    User.objects.filter(pk=cast.anna.pk).update(email="")
    User.objects.filter(pk=cast.bob.pk).update(email=cast.uma.email)
    assert says(host, token) == 200, "members of other tenants do not count"


def test_keys_rotate(cast: Cast, host: Host, elsewhere: Elsewhere) -> None:
    trust(cast, elsewhere)
    assert says(host, elsewhere.token(host, cast.uma)) == 200
    assert says(host, elsewhere.token(host, cast.uma)) == 200
    assert elsewhere.reads == 1, "kept"
    elsewhere.keys = [jwk(OTHER, "two")]
    assert says(host, elsewhere.token(host, cast.uma, key=OTHER, header={"kid": "two"})) == 200
    assert says(host, elsewhere.token(host, cast.uma)) == 401, "the old key is gone with the new set"
    assert elsewhere.reads == 2, "an unknown key is not looked for on every request"


def test_while_the_keys_cannot_be_read_nobody_is_let_in(cast: Cast, host: Host, elsewhere: Elsewhere) -> None:
    trust(cast, elsewhere)
    elsewhere.status = 500
    assert says(host, elsewhere.token(host, cast.uma)) == 401


@pytest.mark.parametrize("secret", ["", "a.b", "a.b.c", "..", "e30.e30.", "W10.W10.W10", "=.=.=", "ü.ü.ü", "a.b.c.d"])
def test_what_is_no_signed_token_is_not_taken_for_one(secret: str) -> None:
    assert outside.read(secret) is None


def test_the_metadata_names_the_issuer_while_it_is_trusted(
    cast: Cast, host: Host, hub: list[str], elsewhere: Elsewhere
) -> None:
    from django.test import Client

    path = f"/.well-known/oauth-protected-resource/t/{cast.acme.slug}/mcp"
    issuer = trust(cast, elsewhere)
    assert Client().get(path).json()["authorization_servers"] == [elsewhere.url]
    with cast.see(cast.acme):
        OutsideIssuer.objects.filter(pk=issuer.pk).update(enabled=False)
    assert Client().get(path).json()["authorization_servers"] != [elsewhere.url]
