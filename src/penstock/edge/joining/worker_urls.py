"""Where a gateway may be sent: the rules for the URL of a worker or an upstream, decided on its text alone.

What a name resolves to is pinned by the transport when it connects.
"""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from penstock.domain.inference import short_base
from penstock.edge.layers.problems import InvalidFields
from penstock.net.reach import AddressNotAllowed, Reach

_ANY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - what a worker says that listens everywhere; replaced, never bound
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")


def joined_url(text: str, peer: str) -> str:
    """A worker's base URL; one that names no host gets the address that the worker called from. Raises InvalidFields."""
    parts = _parse(text)
    host = parts.hostname or ""
    if host in _ANY_ADDRESS:
        if not peer:
            raise _refused("it names no host, and the caller has no address")
        host = peer
    return _build(parts, host)


async def check_reach(base_url: str, reach: Reach) -> None:
    """Whether a worker of an organisation may be there. A name that is not known yet passes: it is checked again when it is dialled.

    Raises InvalidFields.
    """
    parts = urlsplit(base_url)
    try:
        await reach.address_of(parts.hostname or "", parts.port or _PORTS[parts.scheme])
    except AddressNotAllowed as error:
        raise _refused(f"{error}; an operator can allow it (routing.worker_networks)") from None
    except OSError:
        return


def upstream_url(text: str) -> str:
    """An upstream's base URL, without a closing slash; as `short_base` has it. Raises InvalidFields."""
    parts = _parse(text)
    if (parts.hostname or "") in _ANY_ADDRESS:
        raise _refused("it names no host")
    return _build(parts, parts.hostname or "")


def _parse(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _refused("it is not a URL") from None
    if parts.scheme not in ("http", "https"):
        raise _refused("only http and https can be dialled")
    if parts.username is not None or parts.password is not None:
        raise _refused("credentials do not belong in it; give them as `secret`")
    if parts.query or parts.fragment or "?" in text or "#" in text or "\\" in text:
        raise _refused("it must end with the path")
    if port == 0:
        raise _refused("port 0 cannot be dialled")
    return parts


def _build(parts: SplitResult, host: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    _refuse_special(host)
    port = f":{parts.port}" if parts.port is not None else ""
    return short_base(f"{parts.scheme}://{shown}{port}{parts.path}")


def _refuse_special(host: str) -> None:
    """Link-local addresses hold cloud machines' own credentials; no worker lives there."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        if not _is_name(host):
            raise _refused("its host is not a name or an address") from None
        return
    mapped = getattr(address, "ipv4_mapped", None) or address
    if mapped.is_link_local or mapped.is_multicast or mapped.is_unspecified:
        raise _refused("this address cannot be a worker's")


def _is_name(host: str) -> bool:
    """A resolver reads `2852039166` and `0xa9fea9fe` as addresses too; a name's last label never begins with a digit."""
    last = host.rstrip(".").rpartition(".")[2]
    return _HOST.fullmatch(host) is not None and last != "" and not last[0].isdigit()


def _refused(reason: str) -> InvalidFields:
    return InvalidFields([("base_url", f"{reason}.")])
