"""Brokers of streams (a family): kafka, nats, memory (for tests)."""

from collections.abc import Mapping, Sequence
from typing import cast

from penstock.base import family
from penstock.domain.ports import Broker


def make_broker(name: str, servers: Sequence[str], options: Mapping[str, str]) -> Broker:
    """The member of that name; `options` are its client's own. Raises UnknownMember, StreamRefused, ImportError without its library."""
    return cast("Broker", family.member(__name__, name)(tuple(servers), dict(options)))
