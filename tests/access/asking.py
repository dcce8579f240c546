"""A person before the consent page, from inside this process: what is asked, what is answered, what the client is told.

The same over HTTP, with a sign-in on the way, is `tests.person`; what a program does with its answer is `grants`.
"""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.test import Client as Browser

from access.models import Client, Consent
from audit.models import Entry
from tenants.models import Tenant, User
from tests import ledger, tokens
from tests.access import sent
from tests.cast import Cast
from tests.person import Form, answer_of, consent_form


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


@dataclass
class Asking:
    """One person's browser before one tenant's consent page, for one client."""

    cast: Cast
    tenant: Tenant
    client: Client
    browser: Browser

    @property
    def redirect_uri(self) -> str:
        return str(self.client.redirect_uris.split()[0])

    def url(self, **changed: Any) -> str:
        """The authorization URL; a parameter given as None is left out, a list is sent repeatedly."""
        resource = f"{settings.BASE_URL}/t/{self.tenant.slug}/mcp"
        usual = {"redirect_uri": self.redirect_uri}
        return f"/authorize?{sent.encoded(sent.authorization(self.client.client_id, resource, **(usual | changed)))}"

    def get(self, **changed: Any) -> Any:
        return self.browser.get(self.url(**changed))

    def form(self, **changed: Any) -> Form:
        """The form of the page, which must be there."""
        response = self.get(**changed)
        return consent_form(response.content.decode(), response)

    def post(self, form: Form, decision: str = "allow", **changed: Any) -> Any:
        return self.browser.post(self.url(**changed), form.data() | {"decision": decision})

    def allow(self, *scopes: str, span: str | None = None, **changed: Any) -> dict[str, str]:
        """Say yes to exactly these scopes, or to what is proposed; what the client is told."""
        form = self.form(**changed)
        form.choose(scopes or None, span)
        return self.told(self.post(form, **changed))

    def told(self, response: Any) -> dict[str, str]:
        """The answer that the client gets at its redirect URI."""
        assert response.status_code == 302, response.content.decode()
        assert response["Location"].startswith(f"{self.redirect_uri}?"), response["Location"]
        return answer_of(response["Location"])

    def consent(self) -> Consent:
        with self.cast.see(self.tenant):
            return Consent.objects.get(client=self.client, revoked_at=None)

    def refusals(self) -> list[str]:
        """The reasons of the refusals that the tenant's ledger holds, the oldest first."""
        return ledger.reasons(self.cast, self.tenant)

    def changes(self) -> list[Entry]:
        return ledger.entries(self.cast, self.tenant, "changed")


def asking(
    cast: Cast, client: Client | None = None, *, user: User | None = None, tenant: Tenant | None = None
) -> Asking:
    """uma at acme before the page of a described client, unless said otherwise."""
    browser = Browser()
    browser.force_login(user or cast.uma)
    return Asking(cast=cast, tenant=tenant or cast.acme, client=client or tokens.described(), browser=browser)
