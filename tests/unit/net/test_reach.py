"""Where a tenant may send the gateway or a runner: no address of an inner network, in whatever form it comes."""

from ipaddress import ip_address

import pytest

from penstock.net.reach import AddressNotAllowed, Reach


def ipv4(number: int) -> str:
    return str(ip_address(number))


PUBLIC = ipv4(0x08080808)
AZURE = ipv4(0xA83F8110)
"""Public by its number; inside a virtual machine there it is the platform itself."""
HOME = ipv4(0xC0A80101)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        ipv4(0xAC100001),
        HOME,
        ipv4(0x646464C8),
        "169.254.169.254",
        AZURE,
        "224.0.0.1",
        ipv4(0xFFFFFFFF),
        "::",
        "::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "::a9fe:a9fe",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:a00:1:0:0:80ff:fffe",
        "localhost",
        "",
    ],
)
def test_inner_address_is_not_allowed(address: str) -> None:
    assert not Reach().allows(address)


@pytest.mark.parametrize("address", [PUBLIC, "2606:4700:4700::1111", f"::ffff:{PUBLIC}", f"64:ff9b::{PUBLIC}"])
def test_public_address_is_allowed(address: str) -> None:
    assert Reach().allows(address)


def test_network_that_the_operator_names_is_allowed_in_every_form() -> None:
    reach = Reach(["10.0.0.0/8", "fd12::/16"])
    for address in ("10.9.8.7", "::ffff:10.9.8.7", "64:ff9b::10.9.8.7", "fd12::5"):
        assert reach.allows(address), address
    for address in ("127.0.0.1", HOME, "fd13::5", f"64:ff9b::{HOME}"):
        assert not reach.allows(address), address


async def test_name_is_judged_by_the_addresses_that_it_has() -> None:
    with pytest.raises(AddressNotAllowed, match=r"localhost is in a private network"):
        await Reach().address_of("localhost", 80)
    assert await Reach(["127.0.0.0/8", "::1/128"]).address_of("localhost", 80) in ("127.0.0.1", "::1")


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example"])
async def test_host_that_no_resolver_takes_is_an_unknown_name(host: str) -> None:
    with pytest.raises(OSError, match="is not a host name"):
        await Reach().address_of(host, 80)
