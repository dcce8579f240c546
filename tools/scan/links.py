"""Links in a manifest, and whether their hosts have anything to do with the tool."""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from lib.detect.decode import levels
from tools.scan.reading import sentence
from tools.scan.rules import well_known
from tools.scan.values import Hit, Place, Scanned, Where

_LINK = re.compile(r"(?:\b(?:https?|ftp|wss?)://|(?<![\w./@-])www\.)[^\s<>\"'`)\]}\uff0c\u3002\uff1b]+", re.IGNORECASE)
_SCHEME = re.compile(r"^(?:[a-z]+:)?//", re.IGNORECASE)
_BARE = re.compile(
    r"(?:(?<![\w:/.@-])//(?=[\w-]+\.)|(?<![\w:/.@-])(?=[a-z0-9]))((?:[a-z0-9-]{1,63}\.){1,6}[a-z]{2,24})"
    r"(?![\w@.-]*@)(?P<more>(?::\d{2,5})?(?:[/?#][^\s<>\"'`)\]}\uff0c\u3002\uff1b]*)?)",
    re.IGNORECASE,
)
"""An address without https://: two slashes before its host, or a port, a path or a query behind it."""
_MAIL = re.compile(r"(?<![\w.+%@-])[\w.+%-]{1,64}@((?:[a-z0-9-]{1,63}\.){1,6}[a-z]{2,24})(?![\w@-])", re.IGNORECASE)
_ORDERED = re.compile(
    r"\b(?:also|always|then|afterwards|additionally|must|please|everything|every|all|a copy|copies)\b.{0,80}"
    r"\b(?:send|forward|b?cc|copy|mail|e-?mail|post|report|upload|go)\w{0,3}\b"
    r"|\b(?:send|forward|b?cc|copy|mail|e-?mail|post|report|upload)\b.{0,60}"
    r"\b(?:also|always|too|copy|copies|results?|answers?|outputs?|everything|all|it|them)\b",
    re.IGNORECASE,
)
_NOT = re.compile(r"\b(?:not|never|don.?t|cannot|without)\b", re.IGNORECASE)
_RUNS = re.compile(r"\b(?:javascript|vbscript):\s*\S|\bdata:(?!image/(?:png|jpeg|webp);)[\w/+.-]+[;,]", re.IGNORECASE)
_NAMES = frozenset({Where.NAME, Where.SCHEMA_NAME})
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


def ordered_to_address(scanned: Scanned, found: Sequence[Place], _: bool) -> Iterator[Hit]:
    """Strange mail addresses to which the model is to have something sent."""
    for place in found:
        for text, mail in _strange_mails(place, scanned):
            around = sentence(text, *mail.span())
            if _ORDERED.search(around.partition(mail[0])[0]) and not _NOT.search(around):
                yield Hit(place=place, quote=around)
                break


def strange_address(scanned: Scanned, found: Sequence[Place], _: bool) -> Iterator[Hit]:
    """Nothing follows them by itself, so that they are no links."""
    for place in found:
        if not _is_a_sample(place):
            for _text, mail in _strange_mails(place, scanned):
                yield Hit(place=place, quote=mail[0], says=f"It is at {mail[1].lower()}.")
                break


def _strange_mails(place: Place, scanned: Scanned) -> Iterator[tuple[str, re.Match[str]]]:
    for text in levels(place.text)[0]:
        for mail in _MAIL.finditer(text):
            if not _is_expected(mail[1].lower(), scanned):
                yield text, mail


def _is_a_sample(place: Place) -> bool:
    """Choices and examples show what values look like; a default is sent."""
    return place.where == Where.SCHEMA_VALUE and place.path.rpartition(".")[2] not in {"default", "const"}


def _links(place: Place) -> list[str]:
    if place.where == Where.SCHEMA_PATTERN:
        return []
    found: list[str] = []
    for text in levels(place.text)[0]:
        found += _LINK.findall(text)
        if place.where not in _NAMES and not _is_a_sample(place):
            found += [f"{bare[1]}{bare['more']}" for bare in _BARE.finditer(text) if _is_link(bare)]
    return [link.rstrip(".,:;!?*_") for link in found]


def _is_link(bare: re.Match[str]) -> bool:
    """Whether this can be nothing else: names of files, fields and packages look the same."""
    host, known = bare[1].lower(), well_known()
    if not bare[0].startswith("//") and not bare["more"].strip(".,:;!?#/"):
        return False
    if host.partition(".")[0] in known["ends"]:
        return False
    return host.rpartition(".")[2] in known["ends"] or _is_one_of(host, [*known["shorteners"], *known["catchers"]])


def _host(link: str) -> str:
    try:
        return (urlsplit(f"//{_SCHEME.sub('', link)}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _deceives(link: str, host: str) -> str:
    """What is wrong with a link, as a sentence."""
    known = well_known()
    if "@" in re.split(r"[/?#]", _SCHEME.sub("", link), maxsplit=1)[0]:
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
    if host.rpartition(".")[2] in _RESERVED or "{" in host or "." not in host or own.endswith(f".{host}"):
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
