"""Links in a manifest, and whether their hosts have anything to do with the tool."""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from lib.detect.decode import levels
from tools.scan.rules import well_known
from tools.scan.values import Hit, Place, Scanned, Where

_LINK = re.compile(r"(?:\b(?:https?|ftp|wss?)://|(?<![\w./@-])www\.)[^\s<>\"'`)\]}\uff0c\u3002\uff1b]+", re.IGNORECASE)
_RUNS = re.compile(r"\b(?:javascript|vbscript):\s*\S|\bdata:(?!image/(?:png|jpeg|webp);)[\w/+.-]+[;,]", re.IGNORECASE)
_RESERVED = ("localhost", "example", "test", "invalid")
"""RFC 2606 and 6761: names that are nobody's."""
_FOR_BOOKS = tuple(ipaddress.ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"))


def strange(scanned: Scanned, found: Sequence[Place], _: bool) -> Iterator[Hit]:
    """Links to hosts that are neither the tool's own, nor the tenant's, nor those of standards and examples."""
    for place in found:
        for link in _links(place):
            host = _host(link)
            if host and not _is_expected(host, scanned) and _deceives(link, host) == "":
                yield Hit(place=place, quote=link, says=f"It leads to {host}.")
                break


def deceptive(_: Scanned, found: Sequence[Place], __: bool) -> Iterator[Hit]:
    """Links that hide where they lead, or lead to where others collect what is sent to them."""
    for place in found:
        if match := _RUNS.search(place.text):
            yield Hit(
                place=place, quote=match[0], says="It carries its content, or runs it, instead of leading somewhere."
            )
        for link in _links(place):
            if says := _deceives(link, _host(link)):
                yield Hit(place=place, quote=link, says=says)
                break


def _links(place: Place) -> list[str]:
    if place.where == Where.SCHEMA_PATTERN:
        return []
    return [link.rstrip(".,:;!?*_") for text in levels(place.text)[0] for link in _LINK.findall(text)]


def _host(link: str) -> str:
    try:
        return (urlsplit(link if "://" in link else f"http://{link}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _deceives(link: str, host: str) -> str:
    """What is wrong with a link, as a sentence."""
    known = well_known()
    if "@" in link.partition("://")[2].partition("/")[0]:
        return "What stands before the @ is not its host, but a user name."
    if (address := _address(host)) is not None:
        told = address.is_loopback or any(address in net for net in _FOR_BOOKS if net.version == address.version)
        return "" if told else "It names an address and no host."
    if host.startswith("xn--") or ".xn--" in host or not host.isascii():
        return "The name of its host is written in letters that may look like others."
    if _is_one_of(host, known["shorteners"]):
        return "Where it leads is hidden behind a shortened address."
    return "Its host collects what others send to it." if _is_one_of(host, known["catchers"]) else ""


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Also addresses in the odd spellings that browsers take: 0x7f000001, 2130706433."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    if re.fullmatch(r"0x[0-9a-f]{1,8}|[0-9]{6,10}", host):
        number = int(host, 0)
        return ipaddress.IPv4Address(number) if number < 2**32 else None
    return None


def _is_expected(host: str, scanned: Scanned) -> bool:
    own = _host(scanned.destination)
    if host == own or (own and host.endswith(f".{own}")) or _address(host) is not None:
        return True
    if host.rpartition(".")[2] in _RESERVED or "{" in host or "." not in host:
        return True
    allowed = [*well_known()["standards"]]
    for entry in scanned.link_hosts:
        if entry.startswith("*."):
            allowed.append(entry[2:])
        elif host == entry.lower():
            return True
    return _is_one_of(host, allowed)


def _is_one_of(host: str, known: Sequence[str]) -> bool:
    return any(host == one.lower() or host.endswith(f".{one.lower()}") for one in known)
