"""What a request's head says, at every door of the hub: who may speak at all, and the credential it presents."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

Headers = list[tuple[bytes, bytes]]

_MOST_NAME = 300
"""Characters of a Host or an Origin: a DNS name has at most 253, and a scheme and a port go with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """A request's method, headers (lower case, outer blanks stripped; httptools keeps them) and peer."""

    method: str
    lines: list[tuple[str, str]]
    headers: Mapping[str, str]
    address: str
    query: bytes = b""

    @classmethod
    def of(cls, scope: MutableMapping[str, Any]) -> "Head":
        lines = [(name.decode("latin-1"), value.decode("latin-1").strip(" \t")) for name, value in scope["headers"]]
        client = scope.get("client")
        return cls(
            method=scope["method"],
            lines=lines,
            headers=dict(lines),
            address=client[0] if client else "",
            query=scope.get("query_string", b""),
        )

    @property
    def streaming(self) -> bool:
        accept = self.headers.get("accept", "*/*")
        return "text/event-stream" in accept or "*/*" in accept

    def secret(self) -> str | None:
        """The presented credential: of `Authorization: Bearer`, or else `X-API-Key`. Never from the URL."""
        return self._bearer() or self.headers.get("x-api-key") or None

    def _bearer(self) -> str:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def misplaced(self) -> tuple[str, str] | None:
        """What is wrong with how a credential is presented, as a reason and a sentence; None when nothing is.

        A URL is kept in logs and histories, and of two credentials nobody could say which one counted (RFC 6750
        sections 2.3 and 3.1).
        """
        # As text: of bytes, parse_qsl cannot give back what a query spells beyond ASCII.
        query = parse_qsl(self.query.decode("latin-1"), keep_blank_values=True) if self.query else ()
        if any(name == "access_token" for name, _ in query):
            return "token_in_url", "Send the credential in the Authorization header, never in the URL."
        twice = len(self.headers) < len(self.lines) and self._twice("authorization", "x-api-key")
        if twice or (self.headers.get("x-api-key") and self._bearer()):
            return "several_credentials", "Send one credential, in one Authorization header."
        return None

    def _twice(self, *headers: str) -> bool:
        names = [name for name, _ in self.lines]
        return any(names.count(header) > 1 for header in headers)


def wrong_peer(head: Head) -> tuple[int, str] | None:
    """A status and a sentence for a Host or an Origin that is not ours (DNS rebinding); None when nothing is wrong.

    MCP basic/transports, "Security warning": an invalid Origin is answered with 403.
    """
    host = head.headers.get("host", "")
    # The answers below are remembered with what was asked, so what cannot be a name is not even asked about.
    if len(host) > _MOST_NAME or not _host_allowed(host):
        return 421, "This hub does not answer for that Host; an operator can add it to ALLOWED_HOSTS."
    origin = head.headers.get("origin")
    if origin is not None and (len(origin) > _MOST_NAME or not _origin_allowed(origin)):
        return 403, "Requests from that Origin are refused; an operator can add it to ALLOWED_ORIGINS."
    return None


def cors(head: Head) -> Headers:
    """The headers for an Origin that is not wrong."""
    origin = head.headers.get("origin")
    if origin is None:
        return []
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"WWW-Authenticate, Mcp-Session-Id"),
        (b"vary", b"Origin"),
    ]


@lru_cache(maxsize=256)
def _host_allowed(host: str) -> bool:
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


@lru_cache(maxsize=256)
def _origin_allowed(origin: str) -> bool:
    """Listed, or the hub's own: the origin of BASE_URL, under any of this machine's own names if that is one."""
    if origin in settings.ALLOWED_ORIGINS or "*" in settings.ALLOWED_ORIGINS:
        return True
    own = urlsplit(settings.BASE_URL)
    if origin == f"{own.scheme}://{own.netloc}":
        return True
    local = {"localhost", "127.0.0.1", "::1"}
    try:
        given = urlsplit(origin)
        return {own.hostname, given.hostname} <= local and (given.scheme, given.port) == (own.scheme, own.port)
    except ValueError:  # not a URL, or a port that is no port
        return False
