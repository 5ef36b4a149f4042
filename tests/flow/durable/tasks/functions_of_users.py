"""What a user's module looks like: imported by the child processes of runners under test, never by the tests themselves."""

import asyncio
import os
import sys
import time
from pathlib import Path

import penstock


@penstock.task("add")
def add(a: int, b: int) -> int:
    return a + b


@penstock.task("added_elsewhere")
def added_elsewhere(a: int, b: int) -> int:
    """Through a child of its own."""
    result: int = add.submit(a, b).result(60)
    return result


@penstock.task("total")
def total(values: list[int]) -> int:
    return sum(values)


@penstock.task("sleep", timeout_seconds=60)
async def sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "rested"


@penstock.task("hang", timeout_seconds=60)
def hang(started: str) -> None:
    """Python that listens to nobody."""
    Path(started).touch()
    time.sleep(600)


@penstock.task("report", max_attempts=1)
def report(started: str, go: str) -> None:
    penstock.progress({"percent": 50})
    sys.stdout.write("half of it\n")
    Path(started).touch()
    while not Path(go).exists():
        time.sleep(0.01)
    sys.stdout.write("all of it\n")


@penstock.task("later", max_attempts=3)
def later() -> int:
    task = penstock.current()
    assert task is not None
    if task.attempt < 3:
        raise penstock.RetryLater(0.05, "the file is not there yet")
    return task.attempt


@penstock.task("talk", max_attempts=2, backoff=0)
def talk() -> None:
    task = penstock.current()
    assert task is not None
    sys.stdout.write(f"attempt {task.attempt}\n")
    if task.attempt == 1:
        raise ValueError("once more")


@penstock.task("die", max_attempts=1)
def die() -> None:
    os._exit(7)


@penstock.task("fail", max_attempts=1)
def fail() -> None:
    raise ValueError("no such luck")


@penstock.task("unwritable", max_attempts=5)
def unwritable() -> object:
    return object()


@penstock.task("large", max_attempts=5)
def large() -> str:
    return "x" * 1_100_000


@penstock.task("chatty", queue="high", priority=9, max_attempts=7, timeout_seconds=12)
def chatty() -> None:
    """Nobody calls it: it is there for its defaults."""
