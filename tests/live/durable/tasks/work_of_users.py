"""Functions of the fault tests. Each notes what it did in an append-only file outside of the store: the oracle."""

import os
import time
from pathlib import Path

import penstock


def note(ledger: str, number: int) -> None:
    """One line, one write: (number, attempt, process, time)."""
    task = penstock.current()
    assert task is not None
    line = f"{number} {task.attempt} {os.getpid()} {time.time()}\n"
    descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@penstock.task("entry", max_attempts=100)
def entry(ledger: str, number: int, seconds: float) -> int:
    time.sleep(seconds)
    note(ledger, number)
    return number


@penstock.task("gated", max_attempts=100)
def gated(ledger: str, number: int, gate: str, started: str) -> int:
    """Begins, waits for a file, ends."""
    Path(f"{started}.{number}.{os.getpid()}").touch()
    while not Path(gate).exists():
        time.sleep(0.01)
    note(ledger, number)
    return number
