"""Client id metadata documents (draft-ietf-oauth-client-id-metadata-document): the URL is the id, its owner vouches.

Reading and judging one; what becomes of it is in access.clients.described.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson
from django.conf import settings

from access.clients import keysets, metadata, outbound
from access.clients.metadata import Metadata, Unacceptable
from access.models import AuthMethod
from lib import fetch

LEAST_SECONDS = 300
USUAL_SECONDS = 3600
MOST_SECONDS = 24 * 3600
"""For how long a document counts as fresh: what its headers say, within these bounds."""
_FETCH_SECONDS = 5.0
_MOST_LENGTH = 255
_PRINTABLE = re.compile(r"[!-~]+")
_FORBIDDEN = re.compile(r"[\\<>\"`{}|^#]")
# The one spelling of a host: no user, no %-escapes, no dot at the end, no empty port and none with zeros before it.
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?(?::[1-9][0-9]{0,4})?")
_JSON = re.compile(r"application/(?:[a-z0-9._-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?([0-9]{1,9})")
_REFUSED = re.compile(r"(?:^|[\s,])no-(?:store|cache)(?:$|[\s,=])")


class Unusable(Exception):
    """A document that cannot be used.

    says: a sentence for whoever follows the link, which tells nothing of the hub's own network. why: for the ledger.
    passing: whether it may be different in a moment, so that what was read before still stands.
    """

    def __init__(self, reason: str, says: str, why: str = "", *, passing: bool = False) -> None:
        super().__init__(says)
        self.reason, self.says, self.why, self.passing = reason, says, why or says, passing


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """What a good document says. seconds: for how long it is fresh."""

    url: str
    name: str
    redirect_uris: tuple[str, ...]
    client_uri: str
    logo_uri: str
    auth_method: AuthMethod
    jwks: Mapping[str, Any] | None
    jwks_uri: str
    seconds: int


def check_url(url: str) -> None:
    """Raise Unusable unless the URL can be a client's id: exactly one spelling of a document on an https host."""
    if why := _why_no_id(url):
        raise Unusable("document_url", f"This is not a URL that a program can have as its name: {why}.")


def _why_no_id(url: str) -> str:
    if len(url) > _MOST_LENGTH or not _PRINTABLE.fullmatch(url) or _FORBIDDEN.search(url):
        return f"it is longer than {_MOST_LENGTH} characters, has a fragment, or characters that URLs cannot have"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "its host or port is wrong"
    if not url.startswith("https://"):
        return "it does not begin with https://"
    if not _HOST.fullmatch(parts.netloc) or port == 443:
        return "its host is not a plain name in lower case, with a port only where that is not 443"
    if parts.path in ("", "/") or _DOTS.search(parts.path):
        return "it has no path, or one with dots to be resolved"
    return ""


async def read(url: str) -> Document:
    """Fetch a document and judge it; `check_url` was asked before. Raises Unusable."""
    answer = await _fetched(url)
    if 300 <= answer.status < 400:
        raise Unusable("document_redirects", "Its description redirects, which a description must not.")
    if answer.status != 200:
        passing = answer.status >= 500 or answer.status == 429
        raise Unusable("document_status", f"Its description answers {answer.status} instead of 200.", passing=passing)
    if not _JSON.fullmatch(answer.headers.get("Content-Type", "")):
        # Whoever may leave a file on a host, such as a picture, does not speak for it.
        says = "Its description does not say that it is JSON: its Content-Type must be application/json."
        raise Unusable("document_not_json", says)
    try:
        content = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        raise Unusable("document_not_json", "Its description is not JSON.") from None
    return judge(url, content, seconds=fresh_seconds(answer.headers.get("Cache-Control", "")))


async def _fetched(url: str) -> fetch.Inbound:
    host = urlsplit(url).netloc
    unreachable = f"Its description at {host} could not be read. The hub's ledger says why."
    try:
        return await outbound.read(
            url,
            accept="application/json",
            seconds=_FETCH_SECONDS,
            most_bytes=metadata.MOST_BYTES,
            allow_hosts=frozenset(settings.CLIENT_DOCUMENT_HOSTS),
        )
    except fetch.TooLarge as problem:
        says = f"Its description is larger than {metadata.MOST_BYTES // 1024} KiB."
        raise Unusable("document_too_large", says, str(problem)) from None
    except fetch.TimedOut as problem:
        raise Unusable("document_slow", unreachable, str(problem), passing=True) from None
    except fetch.Blocked as problem:
        raise Unusable("document_blocked", unreachable, str(problem)) from None
    except fetch.FetchError as problem:
        raise Unusable("document_unreachable", unreachable, str(problem), passing=True) from None


def fresh_seconds(cache_control: str) -> int:
    """For how long an answer with this header is kept."""
    said = cache_control.lower()
    if _REFUSED.search(said):
        return LEAST_SECONDS
    age = _MAX_AGE.search(said)
    return min(max(int(age[1]), LEAST_SECONDS), MOST_SECONDS) if age else USUAL_SECONDS


def judge(url: str, content: object, *, seconds: int = USUAL_SECONDS) -> Document:
    """The document as a JSON value, found at that URL. Raises Unusable."""
    if not isinstance(content, dict):
        raise Unusable("document_not_json", "Its description is not a JSON object.")
    if content.get("client_id") != url:
        says = "Its description is about another program: its client_id is not the URL it was found at."
        raise Unusable("document_wrong_id", says)
    try:
        said = metadata.parse(content)
    except Unacceptable as problem:
        reason = "document_redirect_uris" if problem.code == "invalid_redirect_uri" else "document_metadata"
        raise Unusable(reason, f"Its description cannot be used. {problem}") from None
    method = _method(said, content)
    signs = method is AuthMethod.JWT
    return Document(
        url=url,
        name=said.name or urlsplit(url).netloc,
        redirect_uris=tuple(said.redirect_uris),
        client_uri=metadata.web_address(said.client_uri),
        logo_uri=metadata.web_address(said.logo_uri),
        auth_method=method,
        jwks=keysets.parse(said.jwks).public if signs and not said.jwks_uri else None,
        jwks_uri=said.jwks_uri if signs else "",
        seconds=seconds,
    )


def _method(said: Metadata, content: Mapping[str, Any]) -> AuthMethod:
    """How it proves itself: nothing, or keys. A secret in a public document is none, so that it is refused."""
    secret = any(name.startswith("client_secret") for name in content)
    if secret or metadata.is_secret_method(said.token_endpoint_auth_method):
        says = "Its description is public and yet speaks of a secret, so that nobody could tell who uses it."
        raise Unusable("document_has_secret", says)
    if said.token_endpoint_auth_method in ("", AuthMethod.NONE):
        return AuthMethod.NONE
    if said.token_endpoint_auth_method != AuthMethod.JWT:
        says = "Its description asks for a way of proving itself that the hub does not have."
        raise Unusable("document_metadata", says, f"token_endpoint_auth_method {said.token_endpoint_auth_method!r}")
    if why := why_no_keys(said.jwks, said.jwks_uri):
        raise Unusable("document_metadata", f"Its description cannot be used. {why}")
    return AuthMethod.JWT


def why_no_keys(jwks: Mapping[str, Any] | None, jwks_uri: str) -> str | None:
    """Why a client cannot prove itself with these, as a sentence; None when it can."""
    if bool(jwks) == bool(jwks_uri):
        return "A client that signs needs either jwks or jwks_uri."
    if jwks_uri:
        return None if metadata.web_address(jwks_uri) else "jwks_uri must be an https URL."
    try:
        keysets.parse(jwks)
    except keysets.KeysUnavailable as problem:
        return str(problem)
    return None
