"""Where a tenant may send us: public addresses, and the networks that the operator has named. Checked on the address that is dialled."""

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_NAT64 = ip_network("64:ff9b::/96")
_NAT64_LOCAL = ip_network("64:ff9b:1::/48")
_IPV4_COMPATIBLE = ip_network("::/96")
_METADATA = frozenset({ip_address(0xA83F8110)})
"""Public by its number, and the cloud machine's own all the same (Azure)."""
_LOW_BITS = 0xFFFF_FFFF
Address = IPv4Address | IPv6Address


class AddressNotAllowed(OSError):
    """The host has an address that may not be dialled."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(f"{host} is in a private network ({address})")


class Reach:
    """Public addresses, and these networks (CIDR blocks). Raises ValueError for a block that is none."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = tuple(ip_network(block, strict=False) for block in networks)

    def allows(self, address: str) -> bool:
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return all(_is_public(each) or any(each in block for block in self._networks) for each in _targets(parsed))

    async def address_of(self, host: str, port: int) -> str:
        """An address of the host, all of whose addresses are allowed. Raises AddressNotAllowed, OSError for a name that is not known."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise OSError(f"{host[:64]!r} is not a host name") from None
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        for address in addresses:
            if not self.allows(address):
                raise AddressNotAllowed(host, address)
        return addresses[0]


def _targets(address: Address) -> list[Address]:
    """Where a packet to this address may end: itself, or the IPv4 addresses that it carries."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address, address.sixtofour]
    if address.teredo is not None:
        return [address, *address.teredo]
    if address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 1):
        return [IPv4Address(int(address) & _LOW_BITS)]
    return [address]


def _is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast and address not in _METADATA and address not in _NAT64_LOCAL
