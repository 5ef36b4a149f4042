"""What a name, a network, a limit and a life time may be. Each raises BadRequest that names the field."""

import math
from collections.abc import Iterable
from ipaddress import ip_network

from penstock.domain.errors import BadRequest

MAX_NAME_CHARS = 100
MAX_NETWORKS = 64
MAX_LIMIT = 10**15
MAX_LIFE_SECONDS = 100 * 366 * 86_400.0
_MAX_EMAIL_CHARS = 254


def name(text: str) -> str:
    """Without the space around it."""
    text = text.strip()
    if not 1 <= len(text) <= MAX_NAME_CHARS or not text.isprintable():
        raise BadRequest(f"A name has 1 to {MAX_NAME_CHARS} printable characters.", param="name")
    return text


def email(text: str) -> str:
    """Only so far that a typing error is likely to be noticed: one `@` with something printable on both sides."""
    text = text.strip()
    local, at, domain = text.partition("@")
    if not (local and at and domain) or "@" in domain or len(text) > _MAX_EMAIL_CHARS or not text.isprintable() or " " in text:
        raise BadRequest("This is not an e-mail address.", param="email")
    return text


def networks(blocks: Iterable[str]) -> tuple[str, ...]:
    """CIDR blocks in their usual form, each once; a single address is a block of one."""
    found: dict[str, None] = {}
    for block in blocks:
        try:
            found[str(ip_network(block.strip()))] = None
        except ValueError:
            raise BadRequest(f"{block[:64]!r} is not an address or a CIDR block.", param="allowed_networks") from None
    if len(found) > MAX_NETWORKS:
        raise BadRequest(f"A key has {MAX_NETWORKS} networks at most.", param="allowed_networks")
    return tuple(found)


def limit(value: int | None, param: str) -> int | None:
    if value is not None and not 1 <= value <= MAX_LIMIT:
        raise BadRequest("A limit is a positive number; leave it out for none of its own.", param=param)
    return value


def expiry(in_seconds: float | None, now: float) -> float | None:
    """When something that lives that long ends; None: never."""
    if in_seconds is None:
        return None
    if not math.isfinite(in_seconds) or not 0 < in_seconds <= MAX_LIFE_SECONDS:
        raise BadRequest("An expiry lies in the future, and within a hundred years.", param="expires_in_seconds")
    return now + in_seconds
