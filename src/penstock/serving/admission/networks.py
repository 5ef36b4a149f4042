"""Client addresses and blocks of them."""

from collections import OrderedDict
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_REMEMBERED = 256  # addresses a key whose answer is kept: parsing one costs more than the whole admission
_HOME_PREFIX = 64  # a household or a machine gets a whole /64 of IPv6, so its single addresses mean nothing


def parse(address: str) -> IPv4Address | IPv6Address | None:
    """The address; an IPv4 one in IPv6's clothes (`::ffff:192.0.2.1`) as IPv4; None for what is none, such as a Unix socket."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return parsed if parsed.version == 4 else parsed.ipv4_mapped or parsed


@lru_cache(maxsize=4096)
def subject(address: str) -> str:
    """Whom an address stands for: itself, or its /64 in IPv6."""
    parsed = parse(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed) >> _HOME_PREFIX << _HOME_PREFIX, _HOME_PREFIX)))
    return address if parsed is None else str(parsed)


class Networks:
    """A list of CIDR blocks. Raises ValueError for a block that is none: the service that made the key has checked them."""

    __slots__ = ("_blocks", "_known")

    def __init__(self, blocks: Iterable[str]) -> None:
        self._blocks = tuple(ip_network(block, strict=False) for block in blocks)
        self._known: OrderedDict[str, bool] = OrderedDict()

    def __contains__(self, address: str) -> bool:
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.popitem(last=False)
            known = self._known[address] = self._look(address)
        return known

    def _look(self, address: str) -> bool:
        parsed = parse(address)
        return parsed is not None and any(parsed in block for block in self._blocks)
