"""Libraries without those of their parts that no gateway uses: they come along with the parts that are used, and weigh 12 MB.

Only our own processes call this; where Penstock is a library in another program, nothing of it happens. And nothing is taken away:
what was left out can still be imported later.
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_OPTIONAL = ("rich", "pygments", "pydantic.v1")
"""Libraries do without them when they are not installed: structlog without rich's tracebacks (which print local variables, a secret
among them perhaps), httpx without its command, FastAPI without models of pydantic's first version."""
_PUT_OFF = ("sqlalchemy.ext.asyncio", ("session", "scoping"))
"""The object-relational mapper, of which we use nothing."""


@contextmanager
def imports() -> Iterator[None]:
    """While the body imports a process of ours. Call it before any of the libraries is imported; those that are stay whole."""
    hidden = [name for name in _OPTIONAL if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # how Python says "not to be found"
    try:
        if _PUT_OFF[0] not in sys.modules:
            _put_off(*_PUT_OFF)
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)


class _Later(ModuleType):
    """Stands in for a module while its package imports names from it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Name(self.__name__, name)


class _Name:
    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name


def _put_off(package_name: str, parts: Sequence[str]) -> None:
    """Import a package whose `__init__` takes names from those parts of it; a part is loaded when one of its names is asked for."""
    modules = [f"{package_name}.{part}" for part in parts]
    sys.modules.update({name: _Later(name) for name in modules})
    try:
        package = importlib.import_module(package_name)
    finally:
        for name in modules:
            del sys.modules[name]
    waiting = {name: value for name, value in vars(package).items() if isinstance(value, _Name)}
    for name in waiting:
        delattr(package, name)

    def load(name: str) -> Any:
        if name not in waiting:
            raise AttributeError(f"module {package_name!r} has no attribute {name!r}")
        return getattr(importlib.import_module(waiting[name].module), waiting[name].name)

    package.__dict__["__getattr__"] = load
