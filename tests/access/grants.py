"""A program that was let in: its codes and tokens, from inside this process and without a page or a server between.

Of its person only the consent is there; what a person is asked before is `asking`.
"""

import base64
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.http import HttpRequest
from django.test import Client as Browser
from django.test import RequestFactory
from django.utils import timezone

from access.models import AccessToken, Client, RefreshToken, digest_of
from access.oauth import authorization
from tenants.addresses import resource
from tenants.models import Tenant, User
from tests import ledger
from tests.access import sent
from tests.access.sent import FORM, VERIFIER, encoded
from tests.cast import Cast
from tests.tokens import consent, registered


@dataclass
class LetIn:
    """A client, the person who let it in, and how long that lasts (None: until revoked)."""

    cast: Cast
    client: Client = field(default_factory=registered)
    scopes: Sequence[str] = ("a.read", "a.write")
    lasts: datetime.timedelta | None = None
    tenant: Tenant = field(default=None)  # type: ignore[assignment]
    user: User = field(default=None)  # type: ignore[assignment]
    verifier: str = VERIFIER

    def __post_init__(self) -> None:
        self.tenant = self.tenant or self.cast.acme
        self.user = self.user or self.cast.uma
        self.cast.scopes(self.tenant, {"a.read": "Read", "a.write": "Write"})
        self.resource = resource(self.tenant.slug)
        until = timezone.now() + self.lasts if self.lasts is not None else None
        self.consent = consent(self.cast, self.user, self.tenant, by=self.client, scopes=list(self.scopes), until=until)

    def asked(self, **changes: Any) -> authorization.Asked:
        """What `check` makes of its request; raises as that does."""
        usual = {"scope": " ".join(self.scopes), "state": "s%25 é"}
        request = visit(sent.authorization(self.client.client_id, self.resource, self.verifier, **(usual | changes)))
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
        return sent.exchange(self.client.client_id, code, self.verifier, **changes)

    def redeem(self, code: str, **changes: Any) -> Any:
        return post("/token", self.exchange(code, **changes))

    def tokens(self, **changes: Any) -> Any:
        """A first pair of tokens."""
        answer = self.redeem(self.code(), **changes)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def refresh(self, token: str, **changes: Any) -> Any:
        return post("/token", sent.refreshing(self.client.client_id, token, **changes))

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
        return ledger.reasons(self.cast, self.tenant)


def visit(query: Mapping[str, Any]) -> HttpRequest:
    return RequestFactory().get(f"/authorize?{encoded(query)}")


def post(path: str, form: Mapping[str, Any], **headers: str) -> Any:
    """A form, posted by a program."""
    return Browser(headers=headers).post(path, encoded(form), content_type=FORM)


def basic(client_id: str, secret: str) -> str:
    """The value of an Authorization header, without the encoding of special characters."""
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()
