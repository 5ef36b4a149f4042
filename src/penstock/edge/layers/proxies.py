"""Whose request it is behind proxies: the address that the nearest trusted one has seen, and none that a client invents."""

import re
import struct
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from penstock.serving.admission.networks import Networks, parse

X_FORWARDED_FOR = "x-forwarded-for"
FORWARDED = "forwarded"
PROXY_PROTOCOL = "proxy-protocol"

Headers = Sequence[tuple[bytes, bytes]]
_ELEMENT = re.compile(r"(?:[^\",]|\"(?:[^\"\\]|\\.)*\"?)+")
"""Of a list in which commas inside quotes do not separate."""
_PAIR = re.compile(r"([^\s;=]+)\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^;\s]*)")
_MOST_HOPS = 32


class TrustedProxies:
    """The networks of one's own proxies, and where they write the address of their client."""

    def __init__(self, networks: Iterable[str] = (), source: str = X_FORWARDED_FOR) -> None:
        """Raises ValueError for a block that is none."""
        blocks = tuple(networks)
        self.off = not blocks
        self.source = source
        self._networks = Networks(blocks)
        self._header = source.encode("ascii")

    def trusts(self, address: str) -> bool:
        return not self.off and address in self._networks

    def client(self, peer: str, headers: Headers) -> str:
        """The right-most address that is not a trusted proxy's, for a request that came from the trusted `peer`.

        What stands left of it was written by its sender. A hop that cannot be read ends the search: the last proxy that could be read is
        the client then.
        """
        if self.source == PROXY_PROTOCOL:
            return peer
        value = b",".join(value for name, value in headers if name == self._header).decode("latin-1")
        known = peer
        for hop in reversed(self._hops(value)[-_MOST_HOPS:]):
            parsed = parse(_without_port(hop))
            if parsed is None:
                return known
            known = str(parsed)
            if known not in self._networks:
                return known
        return known

    def _hops(self, value: str) -> list[str]:
        if self.source == X_FORWARDED_FOR:
            return [hop for each in value.split(",") if (hop := each.strip())]
        return [_forwarded_for(each) for each in _ELEMENT.findall(value) if each.strip()]


def _forwarded_for(element: str) -> str:
    return next((value.strip('"') for name, value in _PAIR.findall(element) if name.lower() == "for"), "")


def _without_port(hop: str) -> str:
    """`192.0.2.1:80`, `[2001:db8::1]:80` and `[2001:db8::1]` without what is around the address."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def forwarded_scheme(headers: Headers) -> str | None:
    """`http` or `https`, as a trusted proxy says that its client called."""
    value = next((value for name, value in reversed(headers) if name == b"x-forwarded-proto"), b"")
    scheme = value.rpartition(b",")[2].strip().lower()
    return scheme.decode("ascii") if scheme in (b"http", b"https") else None


SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED_BYTES = 16
_LONGEST_BYTES = 4096
_LOCAL, _PROXY = 0x20, 0x21
_FAMILIES = {0x11: 4, 0x12: 4, 0x21: 16, 0x22: 16}


class NotProxyProtocol(Exception):
    """The connection does not begin with a header of the PROXY protocol, version 2."""


def read_proxy_header(data: bytes) -> tuple[str | None, int] | None:
    """The client's address and the header's size; None: more bytes are needed.

    The address is None for a connection of the proxy itself (a health check). Raises NotProxyProtocol.
    """
    if data[: len(SIGNATURE)] != SIGNATURE[: len(data)]:
        raise NotProxyProtocol
    if len(data) < _FIXED_BYTES:
        return None
    command, family, length = struct.unpack_from("!BBH", data, len(SIGNATURE))
    end = _FIXED_BYTES + length
    if command not in (_LOCAL, _PROXY) or end > _LONGEST_BYTES:
        raise NotProxyProtocol
    if len(data) < end:
        return None
    size = _FAMILIES.get(family)
    if command == _LOCAL or size is None:
        return None, end
    if length < 2 * size + 4:
        raise NotProxyProtocol
    return str(parse(str(ip_address(data[_FIXED_BYTES : _FIXED_BYTES + size])))), end
