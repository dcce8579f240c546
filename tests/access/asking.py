"""What tests of consent share: clients, a furnished tenant, authorization URLs, and a browser without a network."""

import datetime
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from django.test import Client as Browser
from django.utils import timezone

from access.models import Client, Consent
from audit.models import Entry
from tenants.models import Scope, Tenant, User
from tests.cast import Cast
from tests.person import Form, answer_of, form_with

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
"""RFC 7636 appendix B."""


def furnish(cast: Cast, tenant: Tenant | None = None) -> None:
    """Three scopes with a tool each: one reads, one writes, one destroys."""
    tenant = tenant or cast.acme
    cast.scopes(
        tenant,
        {"tickets.read": "Read tickets", "notes.write": "Write internal notes", "tickets.close": "Close tickets"},
    )
    tool(cast, tenant, "get_ticket", "tickets.read")
    tool(cast, tenant, "add_note", "notes.write", read_only=False)
    tool(cast, tenant, "close_ticket", "tickets.close", read_only=False, destructive=True)


def tool(cast: Cast, tenant: Tenant, name: str, *scopes: str, **fields: Any) -> None:
    """A live tool that needs these scopes."""
    cast.tool(tenant, name, config={"function": "echo"}, scopes=list(scopes), **fields)


def change_scope(cast: Cast, tenant: Tenant, name: str, **fields: Any) -> None:
    with cast.see(tenant):
        Scope.objects.filter(tenant=tenant, name=name).update(**fields)


def described(name: str = "Acme Desk", domain: str = "desk.example", **fields: Any) -> Client:
    """A client of a metadata document that is fresh, so that nobody fetches it."""
    return _client(
        client_id=f"https://{domain}/{secrets.token_hex(4)}.json",
        name=name,
        redirect_uris=f"https://{domain}/callback",
        registration_source="cimd",
        fetched_at=timezone.now(),
        cimd_expires_at=timezone.now() + datetime.timedelta(hours=1),
        **fields,
    )


def registered(name: str = "Claude Code", uri: str = "http://localhost:1/callback", **fields: Any) -> Client:
    """A client that registered itself."""
    return _client(name=name, redirect_uris=uri, registration_source="dcr", **fields)


def _client(**fields: Any) -> Client:
    return Client.objects.create(
        client_type="public", authorization_grant_type="authorization-code", client_secret="", **fields
    )


@dataclass
class Asking:
    """One person's browser before one tenant's consent page, for one client."""

    cast: Cast
    tenant: Tenant
    client: Client
    browser: Browser

    def url(self, **changed: Any) -> str:
        """The authorization URL; a parameter given as None is left out, a list is sent repeatedly."""
        query = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": self.client.redirect_uris.split()[0],
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "resource": f"{settings.BASE_URL}/t/{self.tenant.slug}/mcp",
            "state": "xyz",
        } | changed
        sent = {name: value for name, value in query.items() if value is not None}
        return f"/authorize?{urlencode(sent, doseq=True, quote_via=quote)}"

    def get(self, **changed: Any) -> Any:
        return self.browser.get(self.url(**changed))

    def form(self, **changed: Any) -> Form:
        """The form of the page, which must be there."""
        response = self.get(**changed)
        form = form_with(response.content.decode(), "decision")
        assert form is not None, (response.status_code, response.headers)
        return form

    def post(self, form: Form, decision: str = "allow", **changed: Any) -> Any:
        return self.browser.post(self.url(**changed), form.data() | {"decision": decision})

    def allow(self, *scopes: str, span: str | None = None, **changed: Any) -> dict[str, str]:
        """Say yes to exactly these scopes, or to what is proposed; what the client is told."""
        form = self.form(**changed)
        if scopes:
            form.tick("scopes", scopes)
        if span:
            form.tick("span", [span])
        return self.told(self.post(form, **changed))

    def told(self, response: Any) -> dict[str, str]:
        """The answer that the client gets at its redirect URI."""
        assert response.status_code == 302, response.content.decode()
        uri = self.client.redirect_uris.split()[0]
        assert response["Location"].startswith(f"{uri}?"), response["Location"]
        return answer_of(response["Location"])

    def consent(self) -> Consent:
        with self.cast.see(self.tenant):
            return Consent.objects.get(client=self.client, revoked_at=None)

    def refusals(self) -> list[str]:
        """The reasons of the refusals that the tenant's ledger holds, the oldest first."""
        return [entry.reason for entry in self.entries("access.refused")]

    def entries(self, event: str) -> list[Entry]:
        with self.cast.see(self.tenant):
            return list(Entry.objects.filter(tenant_id=self.tenant.pk, event=event).order_by("id"))


def asking(
    cast: Cast, client: Client | None = None, *, user: User | None = None, tenant: Tenant | None = None
) -> Asking:
    """uma at acme before the page of a described client, unless said otherwise."""
    browser = Browser()
    browser.force_login(user or cast.uma)
    return Asking(cast=cast, tenant=tenant or cast.acme, client=client or described(), browser=browser)
