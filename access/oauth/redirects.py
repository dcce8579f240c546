"""Where an answer may be sent. Pure, and the only place that judges a redirect URI (RFC 9700 section 2.1, RFC 8252).

https anywhere; http only to this computer, where any port matches; a private scheme of an installed program, such as
`cursor://`. Everything else would let a stranger have the code.
"""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, urlencode, urlsplit

from django.http import HttpResponse

LOOPBACK = ("localhost", "127.0.0.1", "::1")
MOST_LENGTH = 2000
MOST_ORIGIN = 300
"""What a consent remembers of where the answer goes."""

_PRINTABLE = re.compile(r"[!-~]+")
_FORBIDDEN = re.compile(r"[\\<>\"`{}|^*]")
_PRIVATE = re.compile(r"[a-z][a-z0-9+.-]{2,63}")
# Schemes that a browser or the system itself acts on: no program of the user's own answers there.
_TAKEN = frozenset(
    {
        "about",
        "blob",
        "chrome",
        "chrome-extension",
        "content",
        "data",
        "dav",
        "edge",
        "file",
        "filesystem",
        "ftp",
        "ftps",
        "gopher",
        "imap",
        "intent",
        "irc",
        "jar",
        "javascript",
        "ldap",
        "ldaps",
        "mailto",
        "moz-extension",
        "news",
        "nntp",
        "opera",
        "pop",
        "resource",
        "rtsp",
        "search",
        "sftp",
        "shell",
        "sip",
        "sips",
        "sms",
        "smb",
        "ssh",
        "steam",
        "tel",
        "telnet",
        "urn",
        "vbscript",
        "view-source",
        "webcal",
        "ws",
        "wss",
        "wyciwyg",
    }
)


def why_not(uri: str) -> str | None:
    """Why a client may not register this redirect URI, as a sentence; None when it may."""
    if len(uri) > MOST_LENGTH or not _PRINTABLE.fullmatch(uri) or _FORBIDDEN.search(uri):
        return f"A redirect URI is at most {MOST_LENGTH} printable ASCII characters, without wildcards or spaces."
    if "#" in uri:
        return "A redirect URI must not have a fragment (RFC 6749 section 3.1.2)."
    parts = _split(uri)
    if parts is None:
        return "This is not a URI with a scheme and a host."
    if "@" in parts.netloc:
        return "A redirect URI must not name a user."
    if "%" in parts.netloc or len(origin(uri)) > MOST_ORIGIN:
        return f"Write the host plainly, without escapes; with the scheme it is at most {MOST_ORIGIN} characters."
    if not uri.startswith(f"{parts.scheme}:") or parts.netloc != parts.netloc.lower():
        return "Write the scheme and the host in lower case."
    return _why_not_scheme(parts)


def _why_not_scheme(parts: SplitResult) -> str | None:
    if parts.scheme in {"http", "https"}:
        if not parts.hostname:
            return "This is not a URI with a scheme and a host."
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            return "http is only for this computer (localhost, 127.0.0.1, [::1]); use https."
        return None
    taken = parts.scheme in _TAKEN or "ms" in parts.scheme.split("-")  # Windows' own: ms-settings, search-ms
    if taken or not _PRIVATE.fullmatch(parts.scheme):
        return f"The scheme {parts.scheme} cannot bring an answer back to a program."
    if not parts.netloc and not ("." in parts.scheme and parts.path.startswith("/")):
        return (
            "A private scheme needs a host, like cursor://name/path, or a reversed domain, like com.example.app:/path."
        )
    return None


def matches(uri: str, registered: Iterable[str]) -> bool:
    """Whether a presented redirect URI is one of those registered: the same string, save for a loopback's port."""
    return why_not(uri) is None and any(uri == one or _same_but_port(uri, one) for one in registered)


def _same_but_port(uri: str, registered: str) -> bool:
    """RFC 8252 section 7.3: a program on this computer takes whatever port is free."""
    one, other = _split(uri), _split(registered)
    if one is None or other is None or not (loopback(uri) and loopback(registered)):
        return False
    return (one.hostname, one.path, one.query) == (other.hostname, other.path, other.query)


def loopback(uri: str) -> bool:
    """Whether it leads to a program on the person's own computer by http."""
    parts = _split(uri)
    return parts is not None and parts.scheme == "http" and parts.hostname in LOOPBACK


def vouched(uri: str) -> bool:
    """Whether the domain's owner alone receives what is sent there; not so for loopback and private schemes, where
    another program may sit (RFC 8252 section 8.6)."""
    return uri.startswith("https://")


def origin(uri: str) -> str:
    """Where the answer goes, for people and for comparing: `https://host:port`, `http://localhost` (any port) or
    `cursor://name`."""
    parts = _split(uri)
    if parts is None:
        return ""
    if loopback(uri):
        return f"http://{parts.hostname}"
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else f"{parts.scheme}:"


def answer(uri: str, parameters: Mapping[str, str]) -> HttpResponse:
    """The redirect that brings an authorization response back: what the URI has stays byte for byte, ours is added.

    Django's own redirect class refuses private schemes, so the header is set here; `uri` was checked by `matches`.
    """
    joint = "" if uri.endswith(("?", "&")) else "&" if "?" in uri else "?"
    response = HttpResponse(status=302)
    response["Location"] = f"{uri}{joint}{urlencode(parameters)}"
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "no-referrer"
    return response


def _split(uri: str) -> SplitResult | None:
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018 - raises for one that is no number
    except ValueError:
        return None
    return parts if parts.scheme and parts.port != 0 else None
