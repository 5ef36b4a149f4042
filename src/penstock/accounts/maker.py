"""A key or join token is never wider than the key that makes it: not in time, nor in networks, nor in limits of its own."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

from penstock.domain.errors import PermissionDenied
from penstock.domain.principal import KeyRecord


def expiry(maker: KeyRecord | None, wanted: float | None) -> float | None:
    """When what the maker makes ends: as asked for, or with the maker. Raises PermissionDenied for a later time."""
    if maker is None or maker.expires_at is None:
        return wanted
    if wanted is not None and wanted > maker.expires_at:
        raise PermissionDenied("Your own key expires earlier than that.", param="expires_in_seconds")
    return maker.expires_at if wanted is None else wanted


def networks(maker: KeyRecord | None, wanted: Sequence[str]) -> tuple[str, ...]:
    """As asked for, or the maker's. Raises PermissionDenied for one that is not inside the maker's."""
    if maker is None or not maker.allowed_networks:
        return tuple(wanted)
    own = [ip_network(block) for block in maker.allowed_networks]
    for block in wanted:
        if not any(_inside(ip_network(block), each) for each in own):
            raise PermissionDenied(f"Your own key may not be used from all of {block}.", param="allowed_networks")
    return tuple(wanted) or maker.allowed_networks


def limit(own: int | None, wanted: int | None, param: str) -> int | None:
    """As asked for, or the maker's own limit. Raises PermissionDenied for a higher one."""
    if own is not None and wanted is not None and wanted > own:
        raise PermissionDenied(f"Your own key has a lower limit: {own}.", param=param)
    return own if wanted is None else wanted


def _inside(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)
