"""How processes that a test starts handle Ctrl-C, whatever the tests themselves were started with.

Both are for the main thread, and around the start of the process only: the handling is this process's own for that long.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_reach_children() -> Iterator[None]:
    """A process started in here handles SIGINT as one that a shell starts in the foreground.

    Without it, children inherit the ignored SIGINT of `nohup make test &`, and Python then raises no KeyboardInterrupt in them.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def interrupts_ignored_by_children() -> Iterator[None]:
    """A process started in here has SIGINT ignored, as a shell without job control starts what stands before `&`."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
