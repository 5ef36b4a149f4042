"""A family is a package whose public modules are its members, such as the engines or the stores.

A member module has one public attribute named `MEMBER`: the class or function that makes the member. `Family` finds it by name and
imports it only then, so that choosing SQLite never imports psycopg. Other distributions add members through entry points.

Every family, its group of entry points, and the contract of `MEMBER`, a Protocol beside the port that it makes:

| package | group | contract of `MEMBER` |
|---|---|---|
| `penstock.compute.engines` | `penstock.engines` | `domain.ports.engine.EngineFactory` |
| `penstock.compute.transport` | `penstock.transport` | `domain.ports.transport.TransportFactory` |
| `penstock.processes.runner.kinds` | `penstock.runner.kinds` | `processes.runner.task_kind.KindFactory` |
| `penstock.processes.streams.brokers` | `penstock.streams.brokers` | `domain.ports.streams.BrokerFactory` |
| `penstock.serving.routing.policies` | `penstock.routing.policies` | `serving.routing.policies.PolicyFactory` |
| `penstock.storage.blobs` | `penstock.blobs` | `domain.ports.blobs.BlobsFactory` |
| `penstock.storage.state` | `penstock.state` | `domain.ports.quotas.QuotasFactory` |
| `penstock.storage.stores` | `penstock.stores` | `domain.ports.store.StoreFactory` |
"""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Generic, TypeVar, cast

GROUPS: Final[Mapping[str, str]] = {
    "penstock.compute.engines": "penstock.engines",
    "penstock.compute.transport": "penstock.transport",
    "penstock.processes.runner.kinds": "penstock.runner.kinds",
    "penstock.processes.streams.brokers": "penstock.streams.brokers",
    "penstock.serving.routing.policies": "penstock.routing.policies",
    "penstock.storage.blobs": "penstock.blobs",
    "penstock.storage.state": "penstock.state",
    "penstock.storage.stores": "penstock.stores",
}
"""Package of a family -> its group of entry points. The groups are public: a package may move, its group keeps its name."""

FactoryT = TypeVar("FactoryT")


class UnknownMember(LookupError):
    """No member of that name; the message lists those that exist."""


@dataclass(frozen=True)
class Family(Generic[FactoryT]):
    """The members of one package of `GROUPS`; `FactoryT` is the type of their `MEMBER`."""

    package: str

    def names(self) -> list[str]:
        """Sorted: the public modules of the package, and what entry points add."""
        module = importlib.import_module(self.package)
        own = {info.name for info in pkgutil.iter_modules(module.__path__) if not info.ispkg and not info.name.startswith("_")}
        return sorted(own | {point.name for point in _entry_points(GROUPS[self.package])})

    def member(self, name: str) -> FactoryT:
        """The `MEMBER` of that name; an entry point goes before a module.

        Raises UnknownMember; lets a missing optional dependency's ImportError pass.
        """
        for point in _entry_points(GROUPS[self.package]):
            if point.name == name:
                return cast("FactoryT", point.load())
        if name not in (known := self.names()):
            raise UnknownMember(f"there is no {name!r} in {self.package.rpartition('.')[2]}; there are: {', '.join(known)}")
        return cast("FactoryT", importlib.import_module(f"{self.package}.{name}").MEMBER)


@cache
def _entry_points(group: str) -> tuple[EntryPoint, ...]:
    """Found by reading the metadata of every installed distribution, which takes tens of milliseconds: once is enough."""
    return tuple(entry_points(group=group))
