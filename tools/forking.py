"""A function in a forked process, silently and with a limit of time (`tools/mutate.py`)."""

import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

FAILED = 70
"""Exit code of a child that could not do its work."""


def forked(work: Callable[[], int], limit_seconds: float, *, log: Path | None = None, progress: Path | None = None) -> int | None:
    """The exit code of a child that does the work, silently; None when it was killed.

    It is killed when it takes longer than the limit, with `progress` when that file has not grown for so long.
    """
    child = os.fork()
    if not child:
        code = FAILED
        try:
            _die_with_the_parent()
            sink = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            code = work()
        except BaseException:  # whatever it is, it must not go on as the parent
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    size, deadline = 0, time.monotonic() + limit_seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if progress is not None and (now := progress.stat().st_size) > size:
            size, deadline = now, time.monotonic() + limit_seconds
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.02)


def _die_with_the_parent() -> None:
    """So that nothing goes on when the command is stopped; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
