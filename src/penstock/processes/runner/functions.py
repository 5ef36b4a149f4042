"""What users write: functions that are tasks. `import penstock` gives these names; nothing else is imported for them.

    import penstock

    @penstock.task("resize", queue="low", max_attempts=5, timeout_seconds=60)
    def resize(image: str, width: int) -> dict:
        penstock.progress({"percent": 50})
        return {"image": image, "width": width}

A payload that is an object becomes keyword arguments, a list positional ones, null none, anything else the only argument.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
_LOWEST, _HIGHEST = 1, 10


class RetryLater(Exception):
    """Raised by a task that wants to be run again after `delay` seconds. It counts as an attempt, so that nothing goes on for ever."""

    def __init__(self, delay: float, reason: str = "") -> None:
        if not 0 <= delay <= 366 * 86_400:
            raise ValueError(f"a delay is 0 to a year of seconds, not {delay}")
        super().__init__(reason or f"to be run again in {delay:g} s")
        self.delay = delay


@dataclass(frozen=True, slots=True)
class RegisteredFunction:
    """A registered function and its defaults; None: those of its kind."""

    name: str
    run: Callable[..., Any]
    queue: str | None = None
    priority: int | None = None
    max_attempts: int | None = None
    timeout_seconds: float | None = None


REGISTERED: dict[str, RegisteredFunction] = {}
"""What this process has imported; only child processes of a runner import users' modules."""


def task(
    name: str | None = None,
    *,
    queue: str | None = None,
    priority: int | None = None,
    max_attempts: int | None = None,
    timeout_seconds: float | None = None,
) -> Callable[[F], F]:
    """Register a function, async or not, under a name (its own by default). The function itself stays as it is.

    Raises ValueError for a value that cannot be, and for a name that another function has.
    """
    if priority is not None and not _LOWEST <= priority <= _HIGHEST:
        raise ValueError(f"a priority is {_LOWEST} to {_HIGHEST}, not {priority}")
    if max_attempts is not None and max_attempts < 1:
        raise ValueError(f"max_attempts is at least 1, not {max_attempts}")
    if timeout_seconds is not None and timeout_seconds <= 0:
        raise ValueError(f"timeout_seconds is more than 0, not {timeout_seconds}")

    def register(function: F) -> F:
        own = name or function.__name__
        known = REGISTERED.get(own)
        if known is not None and (known.run.__module__, known.run.__qualname__) != (function.__module__, function.__qualname__):
            raise ValueError(f"two functions are registered as {own!r}: {known.run.__qualname__} and {function.__qualname__}")
        REGISTERED[own] = RegisteredFunction(own, function, queue, priority, max_attempts, timeout_seconds)
        return function

    return register


@dataclass(frozen=True, slots=True)
class Current:
    """The task that runs in this process. Its id stays the same over all attempts: a good key for what must not happen twice."""

    id: str
    attempt: int
    """From 1."""


_current: Current | None = None
_report: Callable[[Any], None] | None = None


def current() -> Current | None:
    """Which task is running; None outside of a runner."""
    return _current


def progress(value: Any) -> None:
    """Tell how far the running task is, as a JSON value; the last one is kept. Outside of a runner nothing happens."""
    if _report is not None:
        _report(value)


def begin(task: Current | None, report: Callable[[Any], None] | None) -> None:
    """What is running now, and where its `progress` goes; for the process that runs it."""
    global _current, _report
    _current, _report = task, report
