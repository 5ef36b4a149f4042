"""Penstock: one multi-tenant, OpenAI-compatible inference cloud from any mix of machines and engines.

For programs that run inside it: `task`, `progress` and `RetryLater` make a function a task (docs/tasks.md).
"""

from penstock.runner.functions import RetryLater, progress, task

__all__ = ["RetryLater", "__version__", "progress", "task"]

__version__ = "0.1.0"
