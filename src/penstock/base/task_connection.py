"""How code inside a task reaches the gateway: the process that runs functions says it, the Python client asks for it."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TaskConnection:
    """A gateway, and the key of one attempt of a task, which ends with the attempt."""

    base_url: str
    """With `/v1`, as an OpenAI client takes it; empty: the runner knows no gateway."""
    api_key: str = field(repr=False)
    ca_file: str = ""
    pin_file: str = ""


def _outside() -> TaskConnection | None:
    return None


class _ConnectionFinder:
    """One for the process."""

    find: Callable[[], TaskConnection | None] = staticmethod(_outside)


def set_source(find: Callable[[], TaskConnection | None]) -> None:
    """`find` returns the connection of the task that runs in this context; None: none does."""
    _ConnectionFinder.find = staticmethod(find)


def task_connection() -> TaskConnection | None:
    """Of the task on whose behalf this code runs; None outside of a task."""
    return _ConnectionFinder.find()
