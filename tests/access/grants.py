"""A program that was let in: what a client does at the authorization server once a person has said yes."""

import base64
import datetime
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from django.http import HttpRequest
from django.test import Client as Browser
from django.test import RequestFactory
from django.utils import timezone

from access.models import AccessToken, AuthMethod, Client, Consent, RefreshToken, digest_of
from access.oauth import authorization
from audit.models import Entry, Event
from tenants.addresses import resource
from tenants.models import Member, Tenant, User
from tests.cast import Cast

REDIRECT = "http://127.0.0.1:5555/callback"
FORM = "application/x-www-form-urlencoded"


def register(**fields: Any) -> Client:
    """A public client that names itself, unless `fields` say otherwise; a `secret` is kept as its digest."""
    kept = (
        {"client_secret": digest_of(fields.pop("secret")), "client_type": "confidential"} if "secret" in fields else {}
    )
    given = {
        "client_id": f"app-{secrets.token_hex(8)}",
        "name": "An app",
        "redirect_uris": "http://127.0.0.1/callback",
        "client_type": "public",
        "authorization_grant_type": "authorization-code",
        "registration_source": "dcr",
        "hash_client_secret": False,
    }
    return Client.objects.create(**{**given, **kept, **fields})


def machine(cast: Cast, member: Member, *, scopes: Sequence[str], **fields: Any) -> Client:
    """A machine of acme that acts as this member; its secret is `s3cret`."""
    given = {
        "auth_method": AuthMethod.BASIC,
        "authorization_grant_type": "client-credentials",
        "redirect_uris": "",
        "registration_source": "manual",
        "secret": "s3cret",
    }
    with cast.see(cast.acme):
        return register(tenant=cast.acme, member=member, scopes=list(scopes), **{**given, **fields})


@dataclass
class Program:
    """A client, the person who let it in, and how long that lasts (None: until revoked)."""

    cast: Cast
    client: Client = field(default_factory=register)
    scopes: Sequence[str] = ("a.read", "a.write")
    lasts: datetime.timedelta | None = None
    tenant: Tenant = field(default=None)  # type: ignore[assignment]
    user: User = field(default=None)  # type: ignore[assignment]
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    def __post_init__(self) -> None:
        self.tenant = self.tenant or self.cast.acme
        self.user = self.user or self.cast.uma
        self.cast.scopes(self.tenant, {"a.read": "Read", "a.write": "Write"})
        self.resource = resource(self.tenant.slug)
        now = timezone.now()
        with self.cast.see(self.tenant):
            self.consent = Consent.objects.create(
                tenant=self.tenant,
                member=self.cast.member(self.tenant, self.user),
                client=self.client,
                scopes=list(self.scopes),
                shown={},
                shown_hash="x",
                redirect_origin="http://127.0.0.1",
                given_at=now,
                until=now + self.lasts if self.lasts is not None else None,
            )

    def query(self, **changes: Any) -> dict[str, Any]:
        """What it puts into the URL of /authorize; None leaves a parameter out, a list repeats it."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        usual = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": REDIRECT,
            "scope": " ".join(self.scopes),
            "state": "s%25 é",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "resource": self.resource,
        }
        return {name: value for name, value in {**usual, **changes}.items() if value is not None}

    def asked(self, **changes: Any) -> authorization.Asked:
        """What `check` makes of it; raises as that does."""
        request = visit(self.query(**changes))
        sought = authorization.sought(request)
        with self.cast.see(*([self.tenant] if sought == self.tenant.pk else [self.cast.beta])):
            return authorization.check(request)

    def code(self, **changes: Any) -> str:
        """A code, as after “Allow”."""
        asked = self.asked(**changes)
        with self.cast.see(self.tenant):
            answer = authorization.issue(
                visit({}), asked=asked, member=self.consent.member, consent=self.consent, scopes=self.scopes
            )
        return parse_qs(urlsplit(answer["Location"]).query)["code"][0]

    def exchange(self, code: str, **changes: Any) -> dict[str, Any]:
        """The form that exchanges a code."""
        usual = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": self.client.client_id,
            "redirect_uri": REDIRECT,
            "code_verifier": self.verifier,
        }
        return {name: value for name, value in {**usual, **changes}.items() if value is not None}

    def redeem(self, code: str, **changes: Any) -> Any:
        return post("/token", self.exchange(code, **changes))

    def tokens(self) -> Any:
        """A first pair of tokens."""
        answer = self.redeem(self.code())
        assert answer.status_code == 200, answer.content
        return answer.json()

    def refreshing(self, token: str, **changes: Any) -> dict[str, Any]:
        """The form that exchanges a refresh token."""
        usual = {"grant_type": "refresh_token", "refresh_token": token, "client_id": self.client.client_id}
        return {**usual, **changes}

    def refresh(self, token: str, **changes: Any) -> Any:
        return post("/token", self.refreshing(token, **changes))

    def live(self) -> tuple[int, int]:
        """How many access and refresh tokens of this consent are live."""
        now = timezone.now()
        with self.cast.see(self.tenant):
            return (
                AccessToken.objects.filter(consent=self.consent, expires__gt=now).count(),
                RefreshToken.objects.filter(consent=self.consent, revoked=None).count(),
            )

    def opened(self, access_token: str) -> AccessToken:
        """The row of an access token."""
        with self.cast.see(self.tenant):
            return AccessToken.objects.get(token_checksum=digest_of(access_token))

    def reasons(self) -> list[str]:
        """Why the tenant's ledger says that somebody was turned away, the oldest first."""
        with self.cast.see(self.tenant):
            entries = Entry.objects.filter(tenant_id=self.tenant.pk, event=Event.TURNED_AWAY).order_by("id")
            return list(entries.values_list("reason", flat=True))


def visit(query: dict[str, Any]) -> HttpRequest:
    return RequestFactory().get(f"/authorize?{urlencode(query, doseq=True)}")


def post(path: str, form: dict[str, Any], **headers: str) -> Any:
    """A form, posted by a program."""
    return Browser(headers=headers).post(path, urlencode(form, doseq=True), content_type=FORM)


def basic(client_id: str, secret: str) -> str:
    """The value of an Authorization header, without the encoding of special characters."""
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()
