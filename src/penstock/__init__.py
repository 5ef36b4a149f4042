"""Penstock: one multi-tenant, OpenAI-compatible inference cloud from any mix of machines and engines.

For programs that run inside it: `task`, `current`, `progress` and `RetryLater` make a function a task (docs/reference/tasks.md).
"""

from penstock.processes.runner.functions import Current, RetryLater, current, progress, task

__all__ = ["Current", "RetryLater", "__version__", "current", "progress", "task"]

__version__ = "0.1.0"
