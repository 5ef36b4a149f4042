"""Brokers of streams (a family): kafka, nats, memory (for tests)."""

from collections.abc import Mapping, Sequence

from penstock.base.family import Family
from penstock.domain.ports import Broker, BrokerFactory

BROKERS: Family[BrokerFactory] = Family(__name__)


def make_broker(name: str, servers: Sequence[str], options: Mapping[str, str]) -> Broker:
    """The member of that name; `options` are its client's own. Raises UnknownMember, StreamRefused, ImportError without its library."""
    return BROKERS.member(name)(tuple(servers), dict(options))
