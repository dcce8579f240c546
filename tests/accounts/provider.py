"""A small OpenID Connect provider on loopback: says who signs in, as it was told to."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

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

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            provider.visits.append(path)
            if path == DISCOVERY and provider.discovery is not None:
                self._send(provider.discovery, 200 if provider.discovery else 500)
            else:
                self._say({DISCOVERY: _discovery, "/userinfo": _claims}[path])

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            provider.asked.append(parse_qs(text))
            self._say(lambda one: {"access_token": "t", "token_type": "Bearer", "id_token": one.id_token(key)})

        def _say(self, answer: Any) -> None:
            self._send(json.dumps(answer(provider)).encode())

        def _send(self, body: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        provider = Provider(issuer=f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield provider
        server.shutdown()
        thread.join()


def _discovery(provider: Provider) -> dict[str, Any]:
    paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "userinfo_endpoint": "userinfo"}
    found: dict[str, Any] = {name: f"{provider.issuer}/{path}" for name, path in paths.items()}
    return found | {"issuer": provider.issuer, "jwks_uri": f"{provider.issuer}/keys"}


def _claims(provider: Provider) -> dict[str, Any]:
    return provider.claims
