"""Coverage's files before they are added up: what a killed process left half written is taken away.

Tests kill processes, and so do the keeper of a supervised server and `kill -9` of a parent; one of them may be writing its file just then.
Coverage would warn of such a file, or fail when it is torn in the middle, and leave it for the next run to find.
"""

import sqlite3
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest


class Sweep:
    """A plugin of the process that adds up."""

    @pytest.hookimpl(wrapper=True, trylast=True)  # inside pytest-cov's, which adds up when the tests are over
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        result = yield
        sweep(session.config.rootpath)
        return result


def sweep(folder: Path) -> list[Path]:
    """Removes the torn ones; tells which."""
    torn = [path for path in sorted(folder.glob(".coverage.*")) if not is_whole(path)]
    for path in torn:
        path.unlink(missing_ok=True)
    return torn


def is_whole(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
            file.execute("SELECT version FROM coverage_schema").fetchone()
            return bool(file.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.DatabaseError:
        return False
