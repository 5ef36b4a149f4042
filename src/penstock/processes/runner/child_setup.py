"""What a child process changes in itself before it imports users' modules: its end, its memory, its output, the context of threads."""

import contextvars
import ctypes
import faulthandler
import io
import logging
import resource
import signal
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from penstock.processes.runner.functions import RUN

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def set_up(memory_mb: int) -> None:
    """`memory_mb`: the most memory that this process may allocate, in MiB; 0: no limit."""
    if sys.platform == "linux":
        call = ctypes.CDLL(None).prctl
        # When the runner is killed, the kernel kills us too: a function whose runner is gone must not go on.
        call(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # A daemon that a function starts becomes our child when its parent ends, so that it is found.
        call(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if memory_mb:
        limit = memory_mb << 20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    faulthandler.enable(2)  # a crash in C leaves its traceback in the log of the attempt
    for name in ("stdout", "stderr"):
        stream = _output(getattr(sys, name))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)  # what it was cannot be written to any more
    _keep_context_in_threads()


def log_to_standard_error() -> None:
    """Records of `logging` from INFO on, unless users' modules have set up logging themselves."""
    if not logging.root.handlers:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


class _Output(io.TextIOWrapper):
    """What a function prints. A thread that it left behind prints nothing: the output of this process belongs to the next task."""

    def write(self, text: str, /) -> int:
        run = RUN.get()
        return len(text) if run is not None and run.over else super().write(text)


def _output(stream: Any) -> _Output:
    """Each line is written at once, so that it is there when the process is killed."""
    return _Output(stream.detach(), encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _keep_context_in_threads() -> None:
    """A thread, and a call in a pool of threads, belong to the function that started them; Python 3.14 can do the first itself."""
    start, submit = threading.Thread.start, ThreadPoolExecutor.submit

    def start_in_context(self: threading.Thread) -> None:
        context, run = contextvars.copy_context(), self.run
        self.run = lambda: context.run(run)  # type: ignore[method-assign] # of this one thread
        start(self)

    def submit_in_context(self: ThreadPoolExecutor, fn: Any, /, *args: Any, **keywords: Any) -> Future[Any]:
        return submit(self, contextvars.copy_context().run, fn, *args, **keywords)

    threading.Thread.start = start_in_context  # type: ignore[method-assign]
    ThreadPoolExecutor.submit = submit_in_context  # type: ignore[method-assign,assignment]
