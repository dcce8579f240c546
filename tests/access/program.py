"""A program that asks for access, in the least HTTP it takes, so that a test can get any one part of it wrong."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import urlencode

import httpx2

REDIRECT: Final = "http://127.0.0.1:33420/callback"
Fields = Mapping[str, str | Iterable[str] | None]
"""Parameters of a request: a value, several of one name, or None to leave out what would be sent."""


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

    def resource(self, slug: str) -> str:
        return f"{self.base}/t/{slug}/mcp"

    def ask(self, slug: str, scope: str | None = None, **changed: str | Iterable[str] | None) -> Asked:
        """An authorization request with PKCE for one tenant."""
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        sent: dict[str, str | Iterable[str] | None] = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "code_challenge": challenge(verifier),
            "code_challenge_method": "S256",
            "state": state,
            "resource": self.resource(slug),
            "scope": scope,
        }
        url = f"{self.base}/authorize?{encoded(sent | changed)}"
        return Asked(url=url, verifier=verifier, state=state, resource=self.resource(slug))

    def redeem(self, asked: Asked, code: str, **changed: str | Iterable[str] | None) -> httpx2.Response:
        """Give a code for tokens."""
        return self.token(
            grant_type="authorization_code",
            **{"code": code, "redirect_uri": self.redirect_uri, "code_verifier": asked.verifier} | changed,
        )

    def refresh(self, token: str, **changed: str | Iterable[str] | None) -> httpx2.Response:
        return self.token(grant_type="refresh_token", **{"refresh_token": token} | changed)

    def revoke(self, token: str, **changed: str | Iterable[str] | None) -> httpx2.Response:
        """RFC 7009."""
        return self.post("/revoke", {"token": token, "client_id": self.client_id} | changed)

    def token(self, **sent: str | Iterable[str] | None) -> httpx2.Response:
        return self.post("/token", {"client_id": self.client_id} | sent)

    def post(self, path: str, sent: Fields, **headers: str) -> httpx2.Response:
        """A form to one of the endpoints; whatever it answers. No redirect is followed."""
        form = {"content-type": "application/x-www-form-urlencoded"} | headers
        return self.http.post(f"{self.base}{path}", content=encoded(sent), headers=form)


def challenge(verifier: str) -> str:
    """S256 (RFC 7636)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def encoded(fields: Fields) -> str:
    return urlencode({name: value for name, value in fields.items() if value is not None}, doseq=True)
