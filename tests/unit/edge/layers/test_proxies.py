"""The client's address behind proxies: the right-most hop that is not one's own, whatever a client invents."""

import struct

import pytest

from penstock.edge.layers.proxies import SIGNATURE, NotProxyProtocol, TrustedProxies, forwarded_scheme, read_proxy_header
from tests.unit.edge.proxy_protocol import proxy_header

OWN = ("10.0.0.0/8", "fd00::/8")
PEER = "10.0.0.1"


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([], PEER),
        ([""], PEER),
        (["192.0.2.1"], "192.0.2.1"),
        (["203.0.113.6, 192.0.2.1"], "192.0.2.1"),
        (["203.0.113.6", "192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        (["203.0.113.6, 192.0.2.1, 10.0.0.3,10.0.0.2"], "192.0.2.1"),
        (["10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        (["192.0.2.1:4711"], "192.0.2.1"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["2001:db8::1, fd00::2"], "2001:db8::1"),
        (["::ffff:192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1, unknown"], PEER),
        (["192.0.2.1, garbage, 10.0.0.2"], "10.0.0.2"),
        (["192.0.2.1, "], "192.0.2.1"),
        (["10.0.0.2, " * 1000 + "192.0.2.1"], "192.0.2.1"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_client_is_the_right_most_untrusted_hop_of_x_forwarded_for(values: list[str], client: str) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in values]
    assert TrustedProxies(OWN).client(PEER, [(b"forwarded", b"for=203.0.113.6"), *headers]) == client


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("for=192.0.2.1", "192.0.2.1"),
        ("For=192.0.2.1;proto=https;by=10.0.0.1", "192.0.2.1"),
        ('proto=https;for="[2001:db8::1]:4711"', "2001:db8::1"),
        ('for=203.0.113.6, for="192.0.2.1:80", for=10.0.0.2', "192.0.2.1"),
        ('for=203.0.113.6;host="a,b", for=192.0.2.1', "192.0.2.1"),
        ('host="evil;for=203.0.113.6";for=192.0.2.1', "192.0.2.1"),
        ("for=192.0.2.1, for=unknown", PEER),
        ("for=192.0.2.1, for=_hidden", PEER),
        ("for=192.0.2.1, by=10.0.0.2", PEER),
        ('for="192.0.2.1', "192.0.2.1"),
        ("," * 10_000 + "for=192.0.2.1", "192.0.2.1"),
    ],
    ids=lambda value: value[:50],
)
def test_client_is_the_right_most_untrusted_hop_of_forwarded(value: str, client: str) -> None:
    headers = [(b"x-forwarded-for", b"203.0.113.6"), (b"forwarded", value.encode())]
    assert TrustedProxies(OWN, "forwarded").client(PEER, headers) == client


def test_only_addresses_of_the_networks_are_trusted() -> None:
    proxies = TrustedProxies(OWN)
    assert [proxies.trusts(each) for each in (PEER, "fd00::1", "192.0.2.1", "")] == [True, True, False, False]
    assert not TrustedProxies().trusts(PEER)


@pytest.mark.parametrize(("value", "scheme"), [(b"https", "https"), (b"https, HTTP ", "http"), (b"gopher", None), (b"", None)])
def test_scheme_is_what_the_nearest_proxy_says(value: bytes, scheme: str | None) -> None:
    assert forwarded_scheme([(b"x-forwarded-proto", value)]) == scheme
    assert forwarded_scheme([]) is None


@pytest.mark.parametrize("source", ["192.0.2.1", "2001:db8::1"])
@pytest.mark.parametrize("rest", [b"", b"\x03\x00\x04abcd"], ids=["no TLV", "TLV"])
def test_proxy_header_names_the_client_in_whatever_pieces_it_comes(source: str, rest: bytes) -> None:
    header = proxy_header(source, rest=rest)
    assert [read_proxy_header(header[:size]) for size in range(len(header))] == [None] * len(header)
    assert read_proxy_header(header + b"GET /") == (source, len(header))


def test_proxy_header_of_a_health_check_or_another_family_names_no_client() -> None:
    assert read_proxy_header(proxy_header("192.0.2.1", command=0x20)) == (None, 28)
    unspecified = SIGNATURE + struct.pack("!BBH", 0x21, 0x00, 0)
    assert read_proxy_header(unspecified) == (None, 16)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n",
        SIGNATURE + struct.pack("!BBH", 0x11, 0x11, 12) + bytes(12),
        SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 11) + bytes(11),
        SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 65_000),
    ],
    ids=["http", "version 1", "another version", "too short", "too long"],
)
def test_bytes_that_are_no_proxy_header_are_refused(data: bytes) -> None:
    with pytest.raises(NotProxyProtocol):
        read_proxy_header(data)
