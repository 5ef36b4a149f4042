"""Penstock: one multi-tenant, OpenAI-compatible inference cloud from any mix of machines and engines.

For programs: `task`, `current`, `progress`, `RetryLater` and `GiveUp` make a function a task (docs/reference/tasks.md); `Client` and
`AsyncClient` submit tasks and wait for them (docs/reference/python-client.md).
"""

from typing import TYPE_CHECKING, Any

from penstock.processes.runner.functions import Current, GiveUp, RetryLater, current, progress, task

if TYPE_CHECKING:
    from penstock.net.api_client.async_client import AsyncClient, AsyncTaskHandle
    from penstock.net.api_client.calls import TaskOptions, TaskRequest, result_of
    from penstock.net.api_client.client import Client, TaskHandle
    from penstock.net.api_client.values import ApiError, GatewayUnreachable, TaskFailed, TaskInfo

__all__ = [
    "ApiError",
    "AsyncClient",
    "AsyncTaskHandle",
    "Client",
    "Current",
    "GatewayUnreachable",
    "GiveUp",
    "RetryLater",
    "TaskFailed",
    "TaskHandle",
    "TaskInfo",
    "TaskOptions",
    "TaskRequest",
    "__version__",
    "current",
    "progress",
    "result_of",
    "task",
]

__version__ = "0.1.0"

_LATER = {
    "ApiError": "values",
    "AsyncClient": "async_client",
    "AsyncTaskHandle": "async_client",
    "Client": "client",
    "GatewayUnreachable": "values",
    "TaskFailed": "values",
    "TaskHandle": "client",
    "TaskInfo": "values",
    "TaskOptions": "calls",
    "TaskRequest": "calls",
    "result_of": "calls",
}
"""Names of `penstock.net.api_client`, imported with their first use: a gateway, a worker and the commands need none of them."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"penstock.net.api_client.{_LATER[name]}"), name)
