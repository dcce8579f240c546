"""The two values of an exchange: what goes out and what comes in."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Outbound:
    """One request. The repr hides everything that may hold a credential.

    `timeout` is in seconds and covers the whole exchange. `max_bytes` bounds the decoded body. `allow_hosts` names the
    hosts that may be private (see `lib.fetch.addresses.Allowance`). `follow_redirects` is the number of hops; with 0 a
    redirect is returned as it came. Headers named in `sensitive` are dropped, like the well-known ones, when a redirect
    leaves the origin.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    timeout: float
    max_bytes: int
    allow_hosts: frozenset[str]
    follow_redirects: int = 3
    sensitive: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Inbound:
    """The answer. The repr hides what may hold a secret.

    `headers` ignores case; a lookup gives the first of repeated fields. `body` is decoded, so `Content-Encoding` and
    `Content-Length`, which describe the bytes on the wire, are left out. `url` is the last hop's, query included.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    url: str = field(repr=False)
