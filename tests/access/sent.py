"""What a program sends to the authorization server, as values. `program` sends it over HTTP, `grants` in this process.

Parameters given by keyword replace what would be sent, so that a test can get any one part wrong; None leaves one out,
a list repeats it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

FORM: Final = "application/x-www-form-urlencoded"
REDIRECT: Final = "http://127.0.0.1:33420/callback"
VERIFIER: Final = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
"""RFC 7636 appendix B."""


def authorization(client_id: str, resource: str, verifier: str = VERIFIER, /, **changed: Any) -> dict[str, Any]:
    """The query of /authorize."""
    return {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": REDIRECT,
        "code_challenge": challenge(verifier),
        "code_challenge_method": "S256",
        "state": "xyz",
        "resource": resource,
    } | changed


def exchange(client_id: str, code: str, verifier: str = VERIFIER, /, **changed: Any) -> dict[str, Any]:
    """The form that gives a code for tokens."""
    return {
        "grant_type": "authorization_code",
        "client_id": client_id,
        "code": code,
        "redirect_uri": REDIRECT,
        "code_verifier": verifier,
    } | changed


def refreshing(client_id: str, token: str, /, **changed: Any) -> dict[str, Any]:
    """The form that gives a refresh token for new ones."""
    return {"grant_type": "refresh_token", "client_id": client_id, "refresh_token": token} | changed


def challenge(verifier: str) -> str:
    """S256 (RFC 7636)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def encoded(sent: Mapping[str, Any]) -> str:
    return urlencode({name: value for name, value in sent.items() if value is not None}, doseq=True)
