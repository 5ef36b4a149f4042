"""How far a batch is: a bar on a terminal, a line for each step elsewhere, nothing beside JSON."""

import sys
from typing import Any, Self


class BatchProgress:
    """Everything on stderr."""

    def __init__(self, *, quiet: bool, name: str) -> None:
        self._name = name
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._printed = ""

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            from penstock.cli.output.tables import console

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=console(sys.stderr))
            self._bar.start()
            self._task = self._bar.add_task(self._name, total=None)
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, status: str, total: int, completed: int, failed: int) -> None:
        words = f"{self._name}: {status}" + (f", {failed} failed" if failed else "")
        if self._bar is not None:
            self._bar.update(self._task, description=words, total=total or None, completed=completed + failed)
        elif not self._quiet:
            line = f"{words}, {completed + failed} of {total}" if total else words
            if line != self._printed:
                self._printed = line
                print(line, file=sys.stderr, flush=True)
