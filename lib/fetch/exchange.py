"""One exchange: the request, the redirects, the bounded body."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from lib.fetch.addresses import Allowance, allowance_of, check_url
from lib.fetch.errors import Blocked, FetchError, TimedOut, TooLarge, Unreachable
from lib.fetch.pools import session_for
from lib.fetch.values import Inbound, Outbound

USER_AGENT = "mcphub"
_CREDENTIALS = frozenset({"authorization", "cookie", "x-api-key", "proxy-authorization"})
# Framing and connection management belong to the HTTP client; a mapped argument must not be able to steer them.
_FRAMING = frozenset({"host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection"})
_OURS = _FRAMING | {"upgrade", "te", "trailer", "expect"}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OF_THE_WIRE = ("Content-Encoding", "Content-Length", "Transfer-Encoding")


@dataclass(frozen=True, kw_only=True)
class _Hop:
    """One request of an exchange; a redirect makes another."""

    method: str
    url: URL
    headers: CIMultiDict[str]
    body: bytes | None

    @property
    def peer(self) -> str:
        return f"{self.url.raw_host}:{self.url.port}"


async def fetch(outbound: Outbound) -> Inbound:
    """Send one request and return the answer, whatever its status.

    Every hop's scheme, host and resolved addresses are checked before anything is sent. Raises a FetchError; nothing is
    retried here except what RFC 9112, 9.3.1 asks of a client whose kept connection has gone.
    """
    try:
        async with asyncio.timeout(outbound.timeout):
            return await _follow(outbound)
    except TimeoutError:
        raise TimedOut(f"The upstream did not finish answering within {outbound.timeout:g} seconds.") from None


async def _follow(outbound: Outbound) -> Inbound:
    allowance = _allowance(outbound)
    hop = _first_hop(outbound)
    for remaining in range(outbound.follow_redirects, -1, -1):
        try:
            check_url(hop.url, allowance)
            answer = await _exchange(hop, outbound, may_redirect=outbound.follow_redirects > 0)
        except FetchError as problem:
            # Whatever became of this hop, an earlier one was sent.
            problem.sent = problem.sent or remaining < outbound.follow_redirects
            raise
        if isinstance(answer, Inbound):
            return answer
        if remaining:
            hop = _next_hop(hop, answer, outbound.sensitive)
    raise Unreachable(f"{hop.peer} redirected more than {outbound.follow_redirects} times.")


def _allowance(outbound: Outbound) -> Allowance:
    try:
        return allowance_of(outbound.allow_hosts)
    except ValueError as error:
        raise Blocked(str(error), sent=False) from None


def _first_hop(outbound: Outbound) -> _Hop:
    if not _TOKEN.fullmatch(outbound.method):
        raise Blocked("The method is not a valid HTTP method.", sent=False)
    return _Hop(
        method=outbound.method.upper(),
        url=_parse(outbound.url),
        headers=_checked_headers(outbound.headers),
        body=outbound.body,
    )


def _parse(text: str) -> URL:
    try:
        return URL(text).with_fragment(None)
    except ValueError:
        raise Blocked("The URL is not valid.", sent=False) from None


def _checked_headers(headers: Mapping[str, str]) -> CIMultiDict[str]:
    checked: CIMultiDict[str] = CIMultiDict({"User-Agent": USER_AGENT})
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
            raise Blocked(f"The header {name[:40]!r} cannot be set on an outbound request.", sent=False)
        if _CONTROL.search(value):
            raise Blocked(f"The value of header {name[:40]!r} holds a line break or control character.", sent=False)
        checked[name] = value
    # What is asked for has to be what is decoded, whatever the caller, or an installed codec, would ask for.
    checked["Accept-Encoding"] = "gzip, deflate"
    return checked


@dataclass(frozen=True)
class _Redirect:
    status: int
    location: str


async def _exchange(hop: _Hop, outbound: Outbound, *, may_redirect: bool) -> Inbound | _Redirect:
    try:
        async with session_for(outbound.allow_hosts) as session:
            response = await session.request(
                hop.method, hop.url, headers=hop.headers, data=hop.body, allow_redirects=False
            )
            try:
                location = response.headers.get("Location")
                if may_redirect and response.status in _REDIRECTS and location:
                    return _Redirect(response.status, location)
                return await _receive(response, hop, outbound.max_bytes)
            finally:
                # A body read to its end has already returned its connection; anything else is cut off here, also when
                # the caller was cancelled.
                response.close()
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # `from None`, because aiohttp's own errors can quote the whole URL and the headers.
        raise _translate(error, hop) from None


async def _receive(response: aiohttp.ClientResponse, hop: _Hop, max_bytes: int) -> Inbound:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            raise TooLarge(f"{hop.peer} answered with more than {max_bytes} bytes.")
    headers = CIMultiDict(response.headers)
    for name in _OF_THE_WIRE:
        headers.popall(name, None)
    return Inbound(status=response.status, headers=CIMultiDictProxy(headers), body=bytes(body), url=str(response.url))


def _next_hop(hop: _Hop, redirect: _Redirect, sensitive: frozenset[str]) -> _Hop:
    """The request a redirect asks for (RFC 9110, 15.4), without credentials when it leaves the origin."""
    try:
        url = hop.url.join(URL(redirect.location)).with_fragment(None)
    except ValueError:
        raise Blocked(f"{hop.peer} redirected to a URL that is not valid.") from None
    if hop.url.scheme == "https" and url.scheme == "http":
        raise Blocked(f"{hop.peer} redirected from https to http, which is refused.")
    headers = hop.headers
    if (url.scheme, url.raw_host, url.port) != (hop.url.scheme, hop.url.raw_host, hop.url.port):
        headers = _without(headers, _CREDENTIALS | {name.lower() for name in sensitive})
    hop = replace(hop, url=url, headers=headers)
    turns_into_get = redirect.status == 303 and hop.method != "HEAD"
    if turns_into_get or (redirect.status in (301, 302) and hop.method == "POST"):
        content = frozenset(name.lower() for name in headers if name.lower().startswith("content-"))
        hop = replace(hop, method="GET", body=None, headers=_without(headers, content))
    return hop


def _without(headers: CIMultiDict[str], names: frozenset[str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in names)


def _translate(error: Exception, hop: _Hop) -> FetchError:
    """An error of aiohttp or the socket in words that hold nothing but the peer and the operating system's reason."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Unreachable(f"The host {hop.url.raw_host} could not be resolved.", sent=False)
        case aiohttp.ClientConnectorCertificateError(certificate_error=cause):
            reason = getattr(cause, "verify_message", "") or "it could not be verified"
            return Unreachable(f"The TLS certificate of {hop.peer} is not accepted: {reason}", sent=False)
        case aiohttp.ClientConnectorSSLError():
            return Unreachable(f"{hop.peer} does not speak TLS the hub accepts.", sent=False)
        case aiohttp.ClientConnectorError(os_error=cause):
            return Unreachable(f"{hop.peer} cannot be connected to: {cause.strerror or 'no route'}.", sent=False)
        case aiohttp.ClientPayloadError():
            return Unreachable(f"{hop.peer} broke off its answer or encoded it wrongly.")
        case aiohttp.ClientResponseError():
            return Unreachable(f"{hop.peer} sent an answer that is not valid HTTP.")
        case aiohttp.ClientConnectionError() | OSError():
            return Unreachable(f"{hop.peer} closed the connection before it answered.")
        case _:
            return Blocked(f"The request to {hop.peer} is not valid HTTP.", sent=False)
