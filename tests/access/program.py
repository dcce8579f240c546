"""A program that asks for access over HTTP, at a hub that runs: from its registration to its tokens."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import httpx2

from tests.access import sent
from tests.access.sent import FORM, REDIRECT, encoded


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One authorization request: where the person's browser is sent, and what only the program knows."""

    url: str
    verifier: str
    state: str
    resource: str


@dataclass
class Program:
    """A public client of one hub. Parameters given by keyword replace what it would send; None leaves one out."""

    base: str
    client_id: str
    redirect_uri: str = REDIRECT
    http: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=30), repr=False)

    @classmethod
    def registered(cls, base: str, *, redirect_uri: str = REDIRECT, **metadata: Any) -> Program:
        """One that registers itself (RFC 7591)."""
        described = {"client_name": "Test program", "redirect_uris": [redirect_uri], **metadata}
        response = httpx2.post(f"{base}/register", json=described, timeout=30)
        assert response.status_code == 201, response.text
        return cls(base, response.json()["client_id"], redirect_uri)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def ask(self, slug: str, scope: str | None = None, **changed: Any) -> Asked:
        """An authorization request with PKCE for one tenant."""
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        resource = f"{self.base}/t/{slug}/mcp"
        usual = {"redirect_uri": self.redirect_uri, "state": state, "scope": scope}
        query = sent.authorization(self.client_id, resource, verifier, **(usual | changed))
        return Asked(url=f"{self.base}/authorize?{encoded(query)}", verifier=verifier, state=state, resource=resource)

    def redeem(self, asked: Asked, code: str, **changed: Any) -> httpx2.Response:
        """Give a code for tokens."""
        usual = {"redirect_uri": self.redirect_uri}
        return self.post("/token", sent.exchange(self.client_id, code, asked.verifier, **(usual | changed)))

    def refresh(self, token: str, **changed: Any) -> httpx2.Response:
        return self.post("/token", sent.refreshing(self.client_id, token, **changed))

    def revoke(self, token: str, **changed: Any) -> httpx2.Response:
        """RFC 7009."""
        return self.post("/revoke", {"token": token, "client_id": self.client_id} | changed)

    def post(self, path: str, form: Mapping[str, Any]) -> httpx2.Response:
        """A form to one of the endpoints; whatever it answers. No redirect is followed."""
        return self.http.post(f"{self.base}{path}", content=encoded(form), headers={"content-type": FORM})
