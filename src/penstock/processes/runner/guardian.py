"""A small process beside a runner: when the runner is ended by force, it ends what the runner's children started.

The children themselves end with the runner (`child_setup`), but the helpers of a function would go on, beside the next attempt of its
task. `python -m penstock.processes.runner.guardian` reads from its standard input which children there are; the end of it is the
runner's end.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress

from penstock.processes.runner import process_tree

_EXIT_SECONDS = 5.0


class Guardian:
    """The runner's side. `open`, `close`. Without the process nothing else changes."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        with suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "penstock.processes.runner.guardian"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the runner's to handle
            )

    async def close(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            await asyncio.get_running_loop().run_in_executor(None, process.wait, _EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def add(self, pid: int, mark: str) -> None:
        """A child, which leads the process group of that number."""
        self._tell(f"+ {pid} {mark}\n")

    def remove(self, pid: int) -> None:
        """Nothing is left of it."""
        self._tell(f"- {pid}\n")

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                os.write(self._process.stdin.fileno(), line.encode())


def watch(lines: Iterable[str]) -> None:
    """Until the runner has ended."""
    marks: dict[int, str] = {}
    for line in lines:
        match line.split():
            case ["+", pid, text]:
                marks[int(pid)] = text
            case ["-", pid]:
                marks.pop(int(pid), None)
    for group, mark in marks.items():
        process_tree.kill_all_marked(mark)
        with suppress(OSError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    watch(sys.stdin)
