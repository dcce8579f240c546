"""Links in a text, and whether the host that they lead to is one of those allowed."""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from lib.detect.sieve import Sieve

Allowed = Callable[[str], bool]
"""Whether a URL may stay: its host is allowed, or it names none."""

SIEVE = (r"(?i:https?|ftp|wss?):[/\\]|(?i)www\.[a-z0-9-]",)
_sieve, _www = Sieve(SIEVE), Sieve([r"(?i)www\."])
_LINK = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:https?|ftp|wss?):[/\\]{1,4}+|www\.(?=[a-z0-9-]))[^\s<>\"'`\\)\]}]{1,2000}+", re.IGNORECASE
)
_AFTER_SCHEME = re.compile(r":[/\\]{1,8}+([^\s<>\"'`\\/?#)\]}]{1,300}+)")
_AFTER_WWW = re.compile(r"www\.[^\s<>\"'`\\/?#)\]}]{0,300}+", re.IGNORECASE)
_HOST = re.compile(r"\s*+(?:[a-z][a-z0-9+.-]{0,20}+:)?/{2,3}+(?:[^/?#@]{0,500}+@)?([^/?#:@]{1,255}+)", re.IGNORECASE)
_SCHEME = re.compile(r"\s*+[a-z][a-z0-9+.-]{0,20}+:", re.IGNORECASE)
_FULL_STOPS = ".,;:!?*_"


@lru_cache(maxsize=4096)
def host_of(url: str) -> str:
    """The host that a browser would ask, in lower case and as it is written in DNS; empty for a relative URL."""
    url = url[:2000].replace("\\", "/").replace("\t", "").replace("\n", "")
    if url[:4].lower() == "www.":
        url = f"//{url}"
    if found := re.match(r"\s*(https?|wss?|ftp):/{0,8}(?!/)", url, re.IGNORECASE):
        url = f"//{url[found.end() :]}"  # browsers mend a missing or a third slash
    found = _HOST.match(url)
    return _in_dns(found[1]) if found else ""


@lru_cache(maxsize=2048)
def _in_dns(host: str) -> str:
    host = host.strip("[]").rstrip(".").lower()
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return host


def allowing(hosts: Iterable[str]) -> Allowed:
    """Hosts: `acme.example` is that one, `*.acme.example` all below it. A URL without a host may stay."""
    named = {_in_dns(host) for host in hosts}
    below = tuple(host[1:] for host in named if host.startswith("*."))

    def allowed(url: str) -> bool:
        host = host_of(url)
        if not host:
            return _SCHEME.match(url) is None
        return host in named or (bool(below) and host.endswith(below))

    return allowed


def leads_outside(text: str, allowed: Allowed) -> bool:
    """Whether some link may be to another host; JSON may have escaped it."""
    if not _sieve.catches(text):
        return False
    hosts = {f"//{host.rstrip(_FULL_STOPS)}" for host in _AFTER_SCHEME.findall(text)}
    return not all(map(allowed, hosts.union(_AFTER_WWW.findall(text) if _www.catches(text) else ())))


def without_links(text: str, allowed: Allowed, *, mark: bool) -> tuple[str, int]:
    """The text with links to other hosts marked, or without them; and how many they were."""

    def cleaned(part: str) -> tuple[str, int]:
        count = 0

        def judged(found: re.Match[str]) -> str:
            nonlocal count
            url = found[0].rstrip(_FULL_STOPS)
            if allowed(url):
                return found[0]
            count += 1
            rest = found[0][len(url) :]
            return f"{url} [outside link]{rest}" if mark else f"[link removed: {host_of(url)[:100]}]{rest}"

        return _LINK.sub(judged, part), count

    return _sieve.clean(text, cleaned)
