"""Functions that leave something behind, end in odd ways, or are too large: imported by child processes under test only."""

# ruff: noqa: T201 - what functions print is tested

import asyncio
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import penstock

if gate := os.environ.get("IMPORT_GATE"):
    with Path(gate).with_suffix(".pids").open("a") as came:
        came.write(f"{os.getpid()}\n")
    Path(gate).read_bytes()  # a pipe: the import takes until the test opens it
_pool = ThreadPoolExecutor(1)
_ERRORS: dict[str, BaseException] = {
    "cancelled": asyncio.CancelledError("a library's own cancellation"),
    "generator exit": GeneratorExit("not mine"),
    "system exit": SystemExit(3),
    "interrupt": KeyboardInterrupt("ctrl-c"),
    "nul": ValueError("cannot parse b'\x00'"),
    "surrogate": ValueError("cannot read \udc80"),
    "connection": ConnectionError("refused"),
    "value": ValueError("no number"),
}


def _endless(started: str) -> int:
    """A process that ends only when it is killed; its number is written to the file."""
    process = subprocess.Popen(["sleep", "600"])
    Path(started).write_text(str(process.pid))
    return process.pid


def _note(file: str) -> None:
    """Whose code this is."""
    task = penstock.current()
    Path(file).write_text(task.id if task else "")


@penstock.task
def pid() -> int:
    return os.getpid()


@penstock.task(max_tasks_per_child=2)
def leaky() -> int:
    return os.getpid()


@penstock.task
def wait_forever(started: str) -> None:
    _endless(started)
    signal.pause()


@penstock.task
def fork_helper_and_die(started: str) -> None:
    helper = multiprocessing.get_context("fork").Process(target=signal.pause, daemon=True)
    helper.start()
    Path(started).write_text(str(helper.pid))
    print("before the end")
    os.kill(os.getpid(), signal.SIGKILL)


@penstock.task
def start_daemon_and_exit(started: str) -> None:
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path(started).write_text(str(process.pid))
    os._exit(3)


@penstock.task
def leave_process(started: str) -> int:
    _endless(started)
    return os.getpid()


@penstock.task
def fork_and_return() -> str:
    return "the forked copy's answer" if os.fork() == 0 else "the answer"


@penstock.task
async def leave_coroutine(cancelled: str) -> None:
    async def later() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            _note(cancelled)

    _left.append(asyncio.create_task(later()))
    await asyncio.sleep(0)


_left: list[asyncio.Task[None]] = []


@penstock.task
def leave_thread(gate: str, done: str) -> None:
    def run() -> None:
        Path(gate).read_bytes()
        penstock.progress("of the task that is over")
        print("of the task that is over")
        _note(done)

    threading.Thread(target=run, daemon=True).start()


@penstock.task
def wait_for(gate: str) -> str:
    Path(gate).read_bytes()
    return "done"


@penstock.task
def ask_in_pool() -> str:
    """In a thread that an earlier task started."""

    def work() -> str:
        task = penstock.current()
        penstock.progress("from the pool")
        return task.id if task else ""

    return _pool.submit(work).result()


@penstock.task
def fail_with(name: str) -> None:
    raise _ERRORS[name]


@penstock.task
async def fail_later_with(name: str) -> None:
    await asyncio.sleep(0)
    raise _ERRORS[name]


@penstock.task(retry_on=(ConnectionError, TimeoutError), backoff=lambda attempt: 10.0 * attempt)
def picky(name: str) -> None:
    raise _ERRORS[name]


@penstock.task(backoff=(3, 30))
def give_up() -> None:
    raise penstock.GiveUp("the account is closed")


@penstock.task
def speak(text: str) -> None:
    print(text)
    print("to stderr", file=sys.stderr)
    logging.getLogger("users").info("a record")
    os.system("echo from a shell")
    sys.stdout.write("without an end of line")


@penstock.task
def allocate(megabytes: int) -> int:
    return len(bytearray(megabytes << 20))


@penstock.task
def large(size: int, where: str) -> Any:
    text = "x" * size
    if where == "error":
        raise ValueError(text)
    if where == "progress":
        penstock.progress(text)
    return text if where == "result" else "done"


@penstock.task
def not_a_number() -> Any:
    return {"loss": [1.0, float("nan")], "none": None}


@penstock.task
def nothing() -> Any:
    return {"loss": [1.0, None]}


@penstock.task
def replace_output() -> str:
    sys.stdout.close()
    sys.stderr = None  # as a function may do
    return "done"


@penstock.task
async def leave_exit() -> str:
    async def later() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise SystemExit(5)

    _left.append(asyncio.create_task(later()))
    await asyncio.sleep(0)
    return "done"


class _Odd(penstock.GiveUp):
    def __init__(self) -> None:
        pass

    def __str__(self) -> str:
        raise RuntimeError("no text")


class _OddLater(penstock.RetryLater):
    def __init__(self) -> None:
        pass


@penstock.task
def raise_odd(later: bool) -> None:
    raise _OddLater if later else _Odd


@penstock.task
def leave_daemon_without_environment(started: str) -> str:
    process = subprocess.Popen(["sleep", "600"], start_new_session=True, env={})
    Path(started).write_text(str(process.pid))
    return "done"


@penstock.task
def crash_in_c() -> None:
    import ctypes

    ctypes.string_at(0)
