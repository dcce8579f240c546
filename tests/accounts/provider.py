"""A small OpenID Connect provider on loopback: says who signs in, as it was told to."""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.serving import Handler, served

CLIENT_ID, CLIENT_SECRET = "hub", "a secret of the provider"
DISCOVERY = "/.well-known/openid-configuration"


@dataclass
class Provider:
    """What it claims of whoever signs in, and what it was asked."""

    issuer: str
    claims: dict[str, Any] = field(default_factory=dict)
    audience: str = CLIENT_ID
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    visits: list[str] = field(default_factory=list)
    discovery: bytes | None = None
    """What it answers for its discovery document instead of a true one; empty for an error."""

    def id_token(self, key: rsa.RSAPrivateKey) -> str:
        now = int(time.time())
        given = {"iss": self.issuer, "aud": self.audience, "iat": now, "exp": now + 60, **self.claims}
        return jwt.encode(given, key, "RS256", headers={"kid": "one"})


@contextlib.contextmanager
def running() -> Iterator[Provider]:
    """A provider that answers discovery, the code and the claims."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    class Answers(Handler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            provider.visits.append(path)
            if path == DISCOVERY and provider.discovery is not None:
                self.give(provider.discovery, 200 if provider.discovery else 500)
            else:
                self._say({DISCOVERY: _discovery, "/userinfo": _claims}[path])

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            provider.asked.append(parse_qs(text))
            self._say(lambda one: {"access_token": "t", "token_type": "Bearer", "id_token": one.id_token(key)})

        def _say(self, answer: Any) -> None:
            self.give(json.dumps(answer(provider)).encode())

    with served(Answers) as origin:
        provider = Provider(issuer=origin)
        yield provider


def _discovery(provider: Provider) -> dict[str, Any]:
    paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "userinfo_endpoint": "userinfo"}
    found: dict[str, Any] = {name: f"{provider.issuer}/{path}" for name, path in paths.items()}
    return found | {"issuer": provider.issuer, "jwks_uri": f"{provider.issuer}/keys"}


def _claims(provider: Provider) -> dict[str, Any]:
    return provider.claims
