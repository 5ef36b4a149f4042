"""What a function leaves behind in its child process: forked copies, helper processes, coroutines."""

import asyncio
import contextvars
import os
import signal
import socket
import sys
from contextlib import suppress

from penstock.processes.runner import process_tree

_CANCEL_SECONDS = 2.0
_MOST_ZOMBIES = 64


class OwnProcess:
    """This process, told apart from its forked copies: they lose the socket to the runner, and end when the function returns in them."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._pid = os.getpid()
        self._spared: frozenset[int] = frozenset()
        os.register_at_fork(after_in_child=connection.close)

    @property
    def is_copy(self) -> bool:
        return os.getpid() != self._pid

    def spare_children(self) -> None:
        """Those that there are now belong to users' modules, not to a function."""
        self._spared = frozenset(pid for pid, _ in process_tree.children(self._pid))

    def has_children(self) -> bool:
        """Whether processes live that a function started, which are killed; or many have ended and were not waited for."""
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except (AttributeError, ChildProcessError):  # not on every system; there are none
            return False
        spared = self._spared | {_resource_tracker()}
        zombies, living = 0, False
        for pid, state in process_tree.children(self._pid):
            zombies += state == "Z"
            if state != "Z" and pid not in spared:
                living = True
                process_tree.kill_descendants(pid)
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        return living or zombies > _MOST_ZOMBIES


def has_coroutines(runner: asyncio.Runner) -> bool:
    """Cancel what a function left in the loop; whether some of it does not end."""
    loop = runner.get_loop()
    left = asyncio.all_tasks(loop)
    if not left:
        return False
    for task in left:
        task.cancel()
    try:
        _, running = runner.run(_wait(left), context=contextvars.copy_context())
    except BaseException:  # one of them ended the event loop, for example by SystemExit
        return True
    return bool(running)


async def _wait(tasks: set[asyncio.Task[object]]) -> tuple[set[asyncio.Task[object]], set[asyncio.Task[object]]]:
    done, running = await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)
    for task in done:
        if not task.cancelled():
            task.exception()  # looked at, so that it is not complained about
    return done, running


def _resource_tracker() -> int | None:
    """Python's own helper for shared memory, which lives as long as this process."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    return getattr(getattr(module, "_resource_tracker", None), "_pid", None)
