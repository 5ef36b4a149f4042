"""The other end of `sides/driver.py`: asks a driver, and hands back what it measured."""

import json
from typing import Any

from bench.processes import Process


class Driver:
    def __init__(self, process: Process) -> None:
        self._process = process
        self._ready = False

    def wait_until_ready(self) -> None:
        """Raises NotReady."""
        if not self._ready:
            self._process.line()
            self._ready = True

    def warm(self, count: int) -> None:
        self._ask("warm", count)

    def life(self, count: int) -> float:
        """Tasks a second."""
        return count / float(self._ask("life", count))

    def enqueue(self, count: int) -> float:
        """Tasks a second."""
        return count / float(self._ask("enqueue", count))

    def start(self, count: int) -> list[float]:
        """Milliseconds."""
        return [float(each) for each in self._ask("start", count)]

    def _ask(self, what: str, count: int) -> Any:
        self._process.say(f"{what} {count}")
        return json.loads(self._process.line())
