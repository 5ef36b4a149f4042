"""Headers of the PROXY protocol, version 2, as a load balancer writes them."""

import ipaddress
import struct

from penstock.edge.layers.proxies import SIGNATURE


def proxy_header(source: str, command: int = 0x21, rest: bytes = b"") -> bytes:
    """`command`: 0x21 for a client's connection, 0x20 for the load balancer's own. `rest`: further fields."""
    address = ipaddress.ip_address(source)
    family = 0x11 if address.version == 4 else 0x21
    body = address.packed * 2 + struct.pack("!HH", 4711, 80) + rest
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body
