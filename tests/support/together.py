"""Which tests stay in one process when several share them: what starts the same platform, server or model.

xdist's own `loadgroup` renames the tests for that, which pytest 9.2 no longer lets it do: each test went its own way, and every fixture
of a module was made in each process.
"""

import re

import pytest
from xdist.scheduler import LoadScopeScheduling

_ENGINE = re.compile(r"^tests/contract/compute/engines/.*\[(\w+)[\]-]")
_SHARED = ("tests/live/sdk/",)
"""Folders whose tests share what takes long to start."""
_LONG_FIRST = ("tests/live/", "tests/contract/compute/engines/", "engine ", "tests/flow/", "tests/contract/")
"""So that no process begins something long when the others are about to end."""


def group(nodeid: str) -> str:
    """A file, a folder, or everything of an engine."""
    if engine := _ENGINE.match(nodeid):
        return f"engine {engine.group(1)}"
    path = nodeid.partition("::")[0]
    return next((folder for folder in _SHARED if path.startswith(folder)), path)


def rank(name: str) -> int:
    return next((at for at, start in enumerate(_LONG_FIRST) if name.startswith(start)), len(_LONG_FIRST))


class Together(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """By group, the long ones first."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)

    def _assign_work_unit(self, node: object) -> None:
        first = min(self.workqueue, key=rank)  # of the same rank the one that was collected first, or has more tests
        self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


class Plugin:
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: object) -> Together:
        return Together(config, log)
