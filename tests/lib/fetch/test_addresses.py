"""Where the hub does not go: private addresses in every spelling, unless a connection allows them."""

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from lib.fetch import Blocked, allowance_of, fetch
from lib.fetch.addresses import check_address, check_url, objection
from tests.lib.fetch.servers import NOWHERE, Names, Serve, hello, outbound


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.com/", "gopher://example.com/", "//example.com/"])
async def test_only_http_and_https_are_fetched(url: str) -> None:
    with pytest.raises(Blocked, match="only http and https"):
        await fetch(outbound(url))


@pytest.mark.parametrize(
    "url", ["http://u:hunter2@127.0.0.1/", "http://hunter2@127.0.0.1/", "http://:hunter2@127.0.0.1/"]
)
async def test_a_url_with_credentials_is_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(Blocked) as refused:
        await fetch(outbound(url))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "①②⑦.0.0.1",
        "127。0。0。1",
        "0",
        "0.0.0.0",  # noqa: S104
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
        "[fe80::1]",
        "[fe80::1%25lo]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "[fec0::1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "%31%32%37.0.0.1",
        "a b",
        "..",
    ],
)
async def test_a_private_address_is_refused_in_every_spelling(host: str, names: Names) -> None:
    # Where a parser of the system would understand the spelling, it would understand it as loopback.
    names.table[host] = [["127.0.0.1"]]
    with pytest.raises(Blocked) as refused:
        await fetch(outbound(f"http://{host}:1/", allow_hosts=NOWHERE))
    assert not refused.value.sent


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd12::1", "::ffff:10.0.0.1"])
async def test_a_name_that_resolves_to_a_private_address_is_refused(address: str, names: Names) -> None:
    names.table["innocent.example"] = [[address]]
    with pytest.raises(Blocked, match=r"innocent\.example resolves to .*allowed hosts"):
        await fetch(outbound("http://innocent.example:1/", allow_hosts=NOWHERE))


async def test_one_private_address_among_public_ones_refuses_the_name(names: Names) -> None:
    names.table["mixed.example"] = [["93.184.216.34", "10.0.0.1"]]
    with pytest.raises(Blocked, match=r"10\.0\.0\.1"):
        await fetch(outbound("http://mixed.example:1/", allow_hosts=NOWHERE))


async def test_the_address_that_was_checked_is_the_one_connected_to(serve: Serve, names: Names) -> None:
    port = await serve(hello)
    names.table["rebinding.example"] = [["127.0.0.1"], ["10.0.0.1"]]
    answer = await fetch(outbound(f"http://rebinding.example:{port}/", allow_hosts=frozenset({"127.0.0.1"})))
    assert answer.body == b"hello"
    assert names.asked == ["rebinding.example"]


@pytest.mark.parametrize(
    "entry", ["127.0.0.1", "127.0.0.1:{port}", "127.0.0.0/8", "Internal.Test", "internal.test:{port}", "internal.test."]
)
async def test_an_allowed_host_may_be_private(entry: str, serve: Serve, names: Names) -> None:
    port = await serve(hello)
    names.table["internal.test"] = [["127.0.0.1"]]
    allowed = frozenset({entry.format(port=port)})
    assert (await fetch(outbound(f"http://internal.test:{port}/", allow_hosts=allowed))).status == 200


@pytest.mark.parametrize(
    "entry", ["127.0.0.1:1", "127.0.0.2", "10.0.0.0/8", "test", "other.internal.test", "internal.test:1"]
)
async def test_an_allowance_opens_nothing_beside_what_it_names(entry: str, serve: Serve, names: Names) -> None:
    port = await serve(hello)
    names.table["internal.test"] = [["127.0.0.1"]]
    with pytest.raises(Blocked):
        await fetch(outbound(f"http://internal.test:{port}/", allow_hosts=frozenset({entry})))


@pytest.mark.parametrize("metadata", ["169.254.169.254", "fd00:ec2::254", "168.63.129.16"])
async def test_a_metadata_address_opens_only_to_its_own_literal(metadata: str) -> None:
    address = ipaddress.ip_address(metadata)
    network = str(ipaddress.ip_network((int(address), address.max_prefixlen)))
    for allowed in ({"metadata.example"}, {network}, {"169.254.0.0/16", "fd00::/8", "168.0.0.0/8"}):
        with pytest.raises(Blocked, match=r"metadata.*the address .* itself"):
            check_address("metadata.example", 80, address, allowance_of(frozenset(allowed)))
    check_address(metadata, 80, address, allowance_of(frozenset({metadata})))


@pytest.mark.parametrize(
    "entry", ["*.example.com", "http://example.com", "10.0.0.5/8", "host:99999", "a b", "", "2130706433"]
)
async def test_an_allowance_that_means_nothing_is_refused_with_its_name(entry: str) -> None:
    with pytest.raises(Blocked, match="allowed host"):
        await fetch(outbound("http://127.0.0.1:1/", allow_hosts=frozenset({entry})))


@pytest.mark.parametrize("transition", ["::ffff:{}", "64:ff9b::{}", "2001:4860:4860::200:5efe:{}", "{sixtofour}"])
@given(
    st.sampled_from(["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10", "192.168.0.0/16", "224.0.0.0/4"])
    .flatmap(lambda network: st.ip_addresses(network=network))
    .map(str)
)
def test_a_private_address_is_refused_inside_every_transition_address(transition: str, address: str) -> None:
    number = int(ipaddress.IPv4Address(address))
    wrapped = transition.format(address, sixtofour=f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1")
    assert objection(ipaddress.ip_address(wrapped)) is not None


@given(st.ip_addresses())
@example(ipaddress.ip_address("::"))
def test_what_is_let_through_is_globally_reachable(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if objection(address) is None:
        inner = getattr(address, "ipv4_mapped", None) or address
        nat64 = inner in ipaddress.ip_network("64:ff9b::/96")
        assert nat64 or inner.is_global
        assert not inner.is_multicast


@pytest.mark.parametrize("address", ["2002:808:808::1", "192.0.0.8", "64:ff9b:1::1", "2001:db8::1"])
def test_addresses_that_pythons_releases_judge_differently_are_refused_on_all(address: str) -> None:
    assert objection(ipaddress.ip_address(address)) is not None


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are_let_through(address: str) -> None:
    assert objection(ipaddress.ip_address(address)) is None


@given(st.one_of(st.text(), st.text().map("http://{}".format), st.integers(0, 2**33).map("http://{}/".format)))
def test_no_url_makes_the_check_fail_in_any_other_way_than_refusing(text: str) -> None:
    try:
        url = URL(text)
    except ValueError:
        return
    try:
        check_url(url, allowance_of(NOWHERE))
    except Blocked:
        return
    assert url.scheme in ("http", "https")
    assert (
        not (url.raw_host or "").replace(".", "").isdigit()
        or objection(ipaddress.ip_address(url.raw_host or "")) is None
    )
