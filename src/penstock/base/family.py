"""A family is a package whose public modules are its members: engines, transports, stores, routing policies.

A member module has one public attribute named `MEMBER`: the class or function that makes it. A member is imported only when
it is asked for by name, so that choosing SQLite never imports psycopg. Other distributions add members through entry points in
the group `penstock.<family>`.
"""

import importlib
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any


class UnknownMember(LookupError):
    """No member of that name; the message lists those that exist."""


@cache
def _entry_points(package: str) -> tuple[EntryPoint, ...]:
    """Found by reading the metadata of every installed distribution, which takes tens of milliseconds: once is enough."""
    return tuple(entry_points(group=package))


def names(package: str) -> list[str]:
    """The members of a family such as `penstock.compute.engines`, sorted: its public modules and what entry points add."""
    module = importlib.import_module(package)
    own = {info.name for info in pkgutil.iter_modules(module.__path__) if not info.ispkg and not info.name.startswith("_")}
    return sorted(own | {point.name for point in _entry_points(package)})


def member(package: str, name: str) -> Any:
    """What the member `name` exports as MEMBER. Raises UnknownMember; lets a missing optional dependency's ImportError pass."""
    for point in _entry_points(package):
        if point.name == name:
            return point.load()
    if name not in names(package):
        family = package.rpartition(".")[2]
        raise UnknownMember(f"there is no {name!r} in {family}; there are: {', '.join(names(package))}")
    return importlib.import_module(f"{package}.{name}").MEMBER
