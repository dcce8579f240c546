"""Which hosts and addresses the hub may connect to (OWASP's server-side request forgery, RFC 6890 special ranges)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from yarl import URL

from lib.fetch.errors import Blocked

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Where clouds hand out the machine's own credentials. No network and no hostname opens these, only the address itself.
METADATA: frozenset[Address] = frozenset(
    ip_address(literal)
    for literal in (
        "169.254.169.254",  # AWS, Azure, Google, DigitalOcean, Oracle
        "169.254.170.2",  # AWS ECS task credentials
        "169.254.170.23",  # AWS EKS pod identity
        "fd00:ec2::254",  # AWS over IPv6
        "fd00:ec2::23",  # AWS EKS pod identity over IPv6
        "fd20:ce::254",  # Google over IPv6
        "168.63.129.16",  # Azure's platform address, a public one by its number
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle classic
    )
)

# Public by `ipaddress.is_global`, at least in some Python releases, and yet not a place on the internet.
# Not for the internet, whatever this Python's `is_global` says: its patch releases differ. 6to4 is RFC 7526's farewell.
_SPECIAL = tuple(
    ip_network(network)
    for network in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # RFC 4291 and IANA: nothing outside is assigned for the internet
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})  # RFC 5214, the upper half of the interface identifier

_HOSTNAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_WITH_PORT = re.compile(r"(?:\[(?P<bracketed>[^\]]+)\]|(?P<plain>[^:\[\]]+)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class Allowance:
    """Parsed `allow_hosts`: exact hostnames and addresses, each with an optional port, and networks."""

    names: frozenset[tuple[str, int | None]]
    addresses: frozenset[tuple[Address, int | None]]
    networks: tuple[Network, ...]

    def names_address(self, address: Address, port: int) -> bool:
        return (address, None) in self.addresses or (address, port) in self.addresses

    def admits(self, host: str, port: int, address: Address) -> bool:
        name = host.rstrip(".")
        if (name, None) in self.names or (name, port) in self.names:
            return True
        return self.names_address(address, port) or any(address in network for network in self.networks)


@lru_cache(maxsize=1024)
def allowance_of(allow_hosts: frozenset[str]) -> Allowance:
    """Parse `allow_hosts`. Entries: `host`, `host:8080`, `10.1.2.3`, `[::1]:8080`, `10.1.0.0/16`.

    Raises ValueError with a sentence for the admin when an entry is none of these.
    """
    names: set[tuple[str, int | None]] = set()
    addresses: set[tuple[Address, int | None]] = set()
    networks: list[Network] = []
    for entry in sorted(allow_hosts):
        if "/" in entry:
            networks.append(_network(entry))
            continue
        host, port = _host_and_port(entry)
        address = _literal(host)
        if address is not None:
            addresses.add((_unmapped(address), port))
        else:
            names.add((_hostname(host, entry), port))
    return Allowance(frozenset(names), frozenset(addresses), tuple(networks))


def check_url(url: URL, allowance: Allowance) -> None:
    """Raise Blocked unless the URL is http(s) without userinfo and its host is a name or an address that may be used.

    A name's addresses are checked later, where they are resolved. A literal has to be judged here, because aiohttp does
    not ask its resolver about literals. Forms of IPv4 that only some parsers understand (decimal, octal, hexadecimal,
    short) are refused outright: two parsers that disagree are how such checks are usually passed by.
    """
    if url.scheme not in ("http", "https"):
        raise Blocked(f"The scheme {url.scheme[:20]!r} is refused: only http and https are fetched.", sent=False)
    if url.raw_user is not None or url.raw_password is not None:
        raise Blocked("The URL holds a user name or password: put credentials into the connection.", sent=False)
    host, port = url.raw_host or "", url.port
    if not port:
        raise Blocked("The URL has no usable port.", sent=False)
    address = _literal(host)
    if address is not None:
        check_address(host, port, address, allowance)
    elif not _is_hostname(host):
        raise Blocked(f"The host {host[:80]!r} is neither a hostname nor an address in its usual spelling.", sent=False)


def check_address(host: str, port: int, address: Address, allowance: Allowance) -> None:
    """Raise Blocked when `address`, which `host` stands for, is off limits and not allowed."""
    address = _unmapped(address)
    reason = objection(address)
    if reason is None or allowance.names_address(address, port):
        return
    if _is_metadata(address):
        advice = f"an admin has to add the address {address} itself to the connection's allowed hosts"
    elif allowance.admits(host, port, address):
        return
    else:
        advice = f"an admin can add {host!r} to the connection's allowed hosts"
    meaning = f"{host} is" if _literal(host) else f"{host} resolves to {address},"
    raise Blocked(f"{meaning} {reason}, which the hub does not connect to. If it is meant, {advice}.", sent=False)


def objection(address: Address) -> str | None:
    """Why `address` is not a public place, or None when it is one."""
    address = _unmapped(address)
    if _is_metadata(address):
        return "a cloud metadata address"
    if isinstance(address, IPv6Address) and address in _NAT64:
        # With DNS64 every IPv4 host looks like this, so the IPv4 address inside is what is judged (RFC 6147).
        return objection(next(_embedded(address)))
    if any(objection(inner) for inner in _embedded(address)):
        return "an address that wraps a private one"
    return None if _is_public(address) else _range_of(address)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _range_of(address: Address) -> str:
    for flag, words in (
        (address.is_unspecified, "the unspecified address"),
        (address.is_loopback, "a loopback address"),
        (address.is_link_local, "a link-local address"),
        (address.is_multicast, "a multicast address"),
        (address.is_private, "a private address"),
    ):
        if flag:
            return words
    return "an address in a range that is not public"


def _is_metadata(address: Address) -> bool:
    return address in METADATA or any(inner in METADATA for inner in _embedded(address))


def _embedded(address: Address) -> Iterator[IPv4Address]:
    """IPv4 addresses that a transition mechanism would deliver to: NAT64, 6to4, Teredo, ISATAP."""
    if isinstance(address, IPv4Address):
        return
    number = int(address)
    if address in _NAT64 or (number >> 32) & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(number & 0xFFFFFFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo


def _unmapped(address: Address) -> Address:
    """`::ffff:10.0.0.1` connects to 10.0.0.1, so it is that address; a zone id does not change what an address is."""
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def _literal(host: str) -> Address | None:
    if "%" in host:
        return None
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_hostname(host: str) -> bool:
    """True for a name of the DNS. One whose last label is a number is an address in disguise (WHATWG URL, 3.5)."""
    last = host.rstrip(".").rpartition(".")[2]
    return len(host) <= 254 and bool(_HOSTNAME.fullmatch(host)) and not _NUMERIC_LABEL.fullmatch(last)


def _network(entry: str) -> Network:
    try:
        return ip_network(entry.strip())
    except ValueError as error:
        raise ValueError(f"The allowed host {entry!r} is not a network: {error}.") from None


def _host_and_port(entry: str) -> tuple[str, int | None]:
    text = entry.strip().lower()
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if _literal(bare) is not None:
        return bare, None
    match = _WITH_PORT.fullmatch(text)
    if match is None:
        return text, None
    port = int(match["port"])
    if not 0 < port < 65536:
        raise ValueError(f"The allowed host {entry!r} has a port outside 1 to 65535.")
    return match["bracketed"] or match["plain"], port


def _hostname(host: str, entry: str) -> str:
    try:
        name = URL.build(scheme="http", host=host).raw_host or ""
    except ValueError:
        name = ""
    if not _is_hostname(name):
        raise ValueError(f"The allowed host {entry!r} is not a hostname, an address or a network such as 10.1.0.0/16.")
    return name.rstrip(".")
