"""What users write: functions that are tasks. `import penstock` gives these names; nothing else is imported for them.

    import penstock

    @penstock.task("resize", queue="low", max_attempts=5, timeout_seconds=60, retry_on=OSError, backoff=(2, 60))
    def resize(image: str, width: int) -> dict:
        penstock.progress({"percent": 50})
        return {"image": image, "width": width}

A payload that is an object becomes keyword arguments, a list positional ones, null none, anything else the only argument.
"""

import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar, overload

from penstock.base.task_connection import TaskConnection, set_source
from penstock.processes.runner.task_function import KeyRule, KeyRules, TaskFunction

P = ParamSpec("P")
R = TypeVar("R")
ExceptionTypes = type[BaseException] | tuple[type[BaseException], ...]
BackoffRule = float | tuple[float, float] | Callable[[int], float]
"""Seconds before the second attempt, which double; or those and the most; or a function of the number of the attempt that failed."""
_LOWEST, _HIGHEST = 1, 10
_YEAR_SECONDS = 366 * 86_400.0
_WEEK_SECONDS = 7 * 86_400.0
_MOST_ATTEMPTS = 1_000
_MOST_PER_KEY = 1_000
_LONGEST_NAME = 190
_QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class RetryLater(Exception):
    """Raised by a task that wants to be run again after `delay` seconds. It counts as an attempt, so that nothing goes on for ever."""

    def __init__(self, delay: float, reason: str = "") -> None:
        if not 0 <= delay <= _YEAR_SECONDS:
            raise ValueError(f"a delay is 0 to a year of seconds, not {delay}")
        super().__init__(reason or f"to be run again in {delay:g} s")
        self.delay = delay


class GiveUp(Exception):
    """Raised by a task that knows that another attempt would not help: it fails now, with `reason`, however many attempts are left."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "the task gave up")
        self.reason = reason


class ProgressTooLarge(ValueError):
    """A progress report with more than 65,536 bytes of JSON."""


@dataclass(frozen=True, slots=True)
class RegisteredFunction:
    """A registered function and its defaults; None: those of its kind."""

    name: str
    run: Callable[..., Any]
    queue: str | None = None
    priority: int | None = None
    max_attempts: int | None = None
    timeout_seconds: float | None = None
    backoff_seconds: float | None = None
    backoff_cap_seconds: float | None = None
    retry_on: ExceptionTypes | None = None
    """The errors after which another attempt is worth it; None: every error."""
    pause_after: Callable[[int], float] | None = None
    """Seconds before the next attempt, from the number of the one that failed; None: by backoff."""
    max_tasks_per_child: int | None = None


REGISTERED: dict[str, RegisteredFunction] = {}
"""What this process has imported; only child processes of a runner import users' modules."""


@overload
def task(name: Callable[P, R], /) -> TaskFunction[P, R]: ...
@overload
def task(
    name: str | None = None,
    *,
    queue: str | None = None,
    priority: int | None = None,
    max_attempts: int | None = None,
    timeout_seconds: float | None = None,
    retry_on: ExceptionTypes | None = None,
    backoff: BackoffRule | None = None,
    max_tasks_per_child: int | None = None,
    concurrency_key: KeyRule | None = None,
    max_running_per_key: int | None = None,
    unique_key: KeyRule | None = None,
) -> Callable[[Callable[P, R]], TaskFunction[P, R]]: ...
def task(
    name: str | Callable[..., Any] | None = None,
    *,
    queue: str | None = None,
    priority: int | None = None,
    max_attempts: int | None = None,
    timeout_seconds: float | None = None,
    retry_on: ExceptionTypes | None = None,
    backoff: BackoffRule | None = None,
    max_tasks_per_child: int | None = None,
    concurrency_key: KeyRule | None = None,
    max_running_per_key: int | None = None,
    unique_key: KeyRule | None = None,
) -> Callable[..., Any]:
    """Register a function, async or not, under a name (its own by default). It can be called as before; `submit` runs it
    as a task on the platform.

    `@penstock.task` alone takes the function's own name and no defaults.

    `retry_on`: only these errors are followed by another attempt. `backoff`: the pause before it. `max_tasks_per_child`: after so many
    runs of this function its process is replaced; 1 gives each run a process of its own.

    `concurrency_key`: of the tasks with the same key only `max_running_per_key` (1) run at a time. `unique_key`: while a task with the
    key has not ended, another one is not made. Both are texts, or functions that make one of the arguments; `submit` sends them.

    Raises ValueError for a value that cannot be, and for a name that another function has.
    """
    _check_range("priority", priority, _LOWEST, _HIGHEST)
    _check_range("max_attempts", max_attempts, 1, _MOST_ATTEMPTS)
    _check_range("max_tasks_per_child", max_tasks_per_child, 1, None)
    if timeout_seconds is not None and not 0 < timeout_seconds <= _WEEK_SECONDS:
        raise ValueError(f"timeout_seconds is more than 0 and at most a week, not {timeout_seconds}")
    if queue is not None and not _QUEUE.fullmatch(queue):
        raise ValueError(f"a queue is up to 64 letters, digits, '.', '_' and '-', not {queue!r}")
    _check_range("max_running_per_key", max_running_per_key, 1, _MOST_PER_KEY)
    if max_running_per_key is not None and concurrency_key is None:
        raise ValueError("max_running_per_key needs a concurrency_key")
    first, cap, pause_after = _backoff(backoff)
    keys = KeyRules(concurrency_key, max_running_per_key, unique_key)
    errors = _error_types(retry_on)

    if callable(name):
        return task()(name)

    def register(function: Callable[P, R]) -> TaskFunction[P, R]:
        own = function.__name__ if name is None else name
        if not own or len(own) > _LONGEST_NAME or not own.isprintable():
            raise ValueError(f"a name has 1 to {_LONGEST_NAME} printable characters, not {own!r}")
        known = REGISTERED.get(own)
        if known is not None and (known.run.__module__, known.run.__qualname__) != (function.__module__, function.__qualname__):
            raise ValueError(f"two functions are registered as {own!r}: {known.run.__qualname__} and {function.__qualname__}")
        REGISTERED[own] = RegisteredFunction(
            own, function, queue, priority, max_attempts, timeout_seconds, first, cap, errors, pause_after, max_tasks_per_child
        )
        return TaskFunction(function, own, keys)

    return register


def _check_range(what: str, value: int | None, least: int, most: int | None) -> None:
    if value is not None and (value < least or (most is not None and value > most)):
        raise ValueError(f"{what} is at least {least}, not {value}" if most is None else f"{what} is {least} to {most}, not {value}")


def _error_types(given: ExceptionTypes | None) -> ExceptionTypes | None:
    types = () if given is None else given if isinstance(given, tuple) else (given,)
    wrong = [each for each in types if not _is_error_type(each)]
    if wrong:
        raise ValueError(f"retry_on is an exception class or a tuple of them, not {wrong[0]!r}")
    return given


def _is_error_type(given: object) -> bool:
    return isinstance(given, type) and issubclass(given, BaseException)


def _backoff(given: BackoffRule | None) -> tuple[float | None, float | None, Callable[[int], float] | None]:
    if given is None:
        return None, None, None
    if callable(given):
        return None, None, given
    first, cap = given if isinstance(given, tuple) else (given, None)
    for seconds in (first, cap):
        if seconds is not None and not 0 <= seconds <= _YEAR_SECONDS:
            raise ValueError(f"backoff is 0 to a year of seconds, not {seconds}")
    if cap is not None and cap < first:
        raise ValueError(f"backoff begins with {first:g} s, which is more than its most, {cap:g} s")
    return float(first), None if cap is None else float(cap), None


@dataclass(frozen=True, slots=True)
class Current:
    """The task that runs in this process. Its id stays the same over all attempts: a good key for what must not happen twice."""

    id: str
    attempt: int
    """From 1."""
    connection: TaskConnection | None = field(default=None, repr=False)

    @property
    def base_url(self) -> str:
        """The gateway, as an OpenAI client takes it; empty: the runner knows none."""
        return "" if self.connection is None else self.connection.base_url

    @property
    def api_key(self) -> str:
        """For the gateway, until this attempt ends, with the rights of the task's submitter; empty: there is none."""
        return "" if self.connection is None else self.connection.api_key


@dataclass(slots=True, eq=False)
class FunctionRun:
    """One run of a function. Threads and coroutines that it starts keep it, also after its end."""

    task: Current
    report: Callable[[Any], None]
    over: bool = False


RUN: ContextVar[FunctionRun | None] = ContextVar("penstock_function_run", default=None)
"""Whose code this is; set by the process that runs functions."""


def current() -> Current | None:
    """The task on whose behalf this code runs; None outside of a runner."""
    run = RUN.get()
    return None if run is None else run.task


def progress(value: Any) -> None:
    """Tell how far the running task is, as a JSON value; the last one is kept. Outside of a runner, and after the end of the task,
    nothing happens.

    Raises ProgressTooLarge for more than 65,536 bytes of JSON, TypeError and ValueError for what is not JSON.
    """
    run = RUN.get()
    if run is not None and not run.over:
        run.report(value)


def _connection() -> TaskConnection | None:
    run = RUN.get()
    return None if run is None or run.over else run.task.connection


set_source(_connection)
