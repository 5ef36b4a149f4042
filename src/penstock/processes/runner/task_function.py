"""What `@penstock.task` makes of a function: it can still be called, and it can be submitted."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:  # at run time with the first submission: a module of functions is imported by every child process
    from penstock.net.api_client.async_client import AsyncTaskHandle
    from penstock.net.api_client.calls import TaskOptions, TaskRequest
    from penstock.net.api_client.client import TaskHandle

P = ParamSpec("P")
R = TypeVar("R")
KeyRule = str | Callable[..., str]
"""A key, or what makes one of the arguments of a call."""


@dataclass(frozen=True, slots=True)
class KeyRules:
    """The keys that the tasks of a function get, as `TaskOptions` has them."""

    concurrency_key: KeyRule | None = None
    max_running_per_key: int | None = None
    unique_key: KeyRule | None = None

    def options(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """For one call. Raises what a rule raises, and TypeError for a key that is not a text."""
        found: dict[str, Any] = {}
        for name in ("concurrency_key", "unique_key"):
            rule = getattr(self, name)
            key = rule(*args, **kwargs) if callable(rule) else rule
            if key is None:
                continue
            if not isinstance(key, str):
                raise TypeError(f"a {name} is a text, not {key!r}")
            found[name] = key
        if self.max_running_per_key is not None:
            found["max_running_per_key"] = self.max_running_per_key
        return found


NO_KEYS = KeyRules()


class TaskFunction(Generic[P, R]):
    """A function under the name that it was registered with. A call runs it here and now, as if it were not decorated."""

    __name__: str
    __qualname__: str

    def __init__(self, function: Callable[P, R], task_name: str, keys: KeyRules = NO_KEYS, options: "TaskOptions | None" = None) -> None:
        self._function = function
        self._keys = keys
        self._options = options
        self.task_name = task_name
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task {self.task_name!r} of {self._function!r}>"

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else self._function.__get__(instance, owner)

    def __reduce__(self) -> str:
        return self.__qualname__  # pickled by its name, as a function is

    def options(self, **options: Any) -> "TaskFunction[P, R]":
        """The same function with options for what it submits: `resize.options(queue="low").submit(...)`.

        The names are those of `TaskOptions`. Raises TypeError for another one.
        """
        from penstock.net.api_client.calls import TaskOptions

        return TaskFunction(self._function, self.task_name, self._keys, replace(self._options or TaskOptions(), **options))

    def request(self, *args: P.args, **kwargs: P.kwargs) -> "TaskRequest":
        """For `client.tasks.submit_many`. Raises TypeError for arguments that the function does not take."""
        from penstock.net.api_client.calls import TaskOptions, TaskRequest

        payload = payload_of(self._function, args, kwargs)
        own = self._options or TaskOptions()
        keys = {name: value for name, value in self._keys.options(args, kwargs).items() if getattr(own, name) is None}
        return TaskRequest(self.task_name, payload, "function", replace(own, **keys) if keys else own)

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> "TaskHandle":
        """Run it as a task on the platform. Raises TypeError, ApiError, GatewayUnreachable."""
        from penstock.net.api_client.shared import shared_client

        return shared_client().tasks.submit_request(self.request(*args, **kwargs))

    async def submit_async(self, *args: P.args, **kwargs: P.kwargs) -> "AsyncTaskHandle":
        """As `submit`, without blocking the event loop."""
        from penstock.net.api_client.shared import shared_async_client

        return await shared_async_client().tasks.submit_request(self.request(*args, **kwargs))


def payload_of(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The payload that a runner turns into these arguments again. Raises TypeError for arguments that the function does not take."""
    signature = inspect.signature(function)
    bound = signature.bind(*args, **kwargs)
    if not args:
        return kwargs or None
    if not kwargs:
        return list(args)
    kinds = {name: signature.parameters[name].kind for name in bound.arguments}
    if any(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL) for kind in kinds.values()):
        raise TypeError(f"{function.__name__}: a task has positional or keyword arguments; these cannot be made one of the two")
    extra = next((name for name, kind in kinds.items() if kind is inspect.Parameter.VAR_KEYWORD), None)
    named = {name: value for name, value in bound.arguments.items() if name != extra}
    return named if extra is None else {**named, **bound.arguments[extra]}
