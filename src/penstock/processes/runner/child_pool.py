"""The processes that run users' functions: started when they are needed, ended by force when a function takes too long.

A child runs one function at a time. To stop a function early, the child is killed: Python code cannot be interrupted otherwise, and a new
child starts in a moment. A child that is being started belongs to the pool and not to the function that asked for it: when that one is
cancelled meanwhile, the child serves the next one.
"""

import asyncio
from collections import deque

from penstock.processes.runner.child_output import AttemptLog
from penstock.processes.runner.child_process import CannotImport, Child, ChildOptions
from penstock.processes.runner.frames import Answer, RunFrame
from penstock.processes.runner.guardian import Guardian
from penstock.processes.runner.task_kind import RunningAttempt

_CLOSED = "the runner stops"


class ChildPool:
    """At most `max_processes` of them, those that start and those that are being ended included. `open` starts the first one, which
    declares its functions."""

    def __init__(self, options: ChildOptions, max_processes: int) -> None:
        self._options = options
        self._max_processes = max_processes
        self._guardian = Guardian()
        self._children: set[Child] = set()
        self._idle: deque[Child] = deque()
        self._starting: set[asyncio.Task[None]] = set()
        self._waiting: deque[asyncio.Future[Child]] = deque()
        self._closed = False
        self.functions = b"[]"
        """JSON text of the functions and their defaults."""

    def __len__(self) -> int:
        return len(self._children)

    async def open(self) -> None:
        """Raises CannotImport."""
        self._guardian.open()
        try:
            child = await self._child()
        except BaseException:
            await self.close()
            raise
        self.functions = bytes(child.functions)
        self._put_back(child)

    async def close(self) -> None:
        self._closed = True
        for start in self._starting:
            start.cancel()
        for child in list(self._children):
            child.kill()
        await asyncio.gather(*self._starting, *(child.ended.wait() for child in self._children), return_exceptions=True)
        self._fail_waiting()
        await self._guardian.close()

    async def run(self, work: RunFrame, attempt: RunningAttempt, kept: AttemptLog) -> Answer:
        """The attempt's time begins when the function does. Raises Crashed, CannotImport. Cancelling this kills the child."""
        attempt.hold_clock()
        child = await self._child()
        attempt.start_clock()
        try:
            return await child.run(work, lambda value: attempt.report(value.decode()), kept)
        except BaseException:
            child.kill()
            raise
        finally:
            self._put_back(child)

    async def _child(self) -> Child:
        """One that is idle, or the next one that becomes so. Raises CannotImport."""
        while self._idle:
            child = self._idle.pop()  # the one that ran last: its memory is warm, and the others may be swapped out
            if child.is_alive:
                return child
        waiting: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._start_more()
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self._put_back(waiting.result())  # it was our turn, and we have no use for it any more
            raise

    def _start_more(self) -> None:
        """A child for each that waits, as far as there may be more of them."""
        wanted = sum(not waiting.done() for waiting in self._waiting) - len(self._starting)
        for _ in range(min(wanted, self._max_processes - len(self._children))):
            if self._closed:
                return
            child = Child(self._options, self._guardian, self._forget)
            self._children.add(child)
            start = asyncio.get_running_loop().create_task(self._start(child))
            self._starting.add(start)
            start.add_done_callback(self._starting.discard)

    async def _start(self, child: Child) -> None:
        try:
            await child.open()
        except CannotImport as error:
            if child.ended.is_set():
                self._children.discard(child)
            if (waiting := self._next_waiting()) is not None:
                waiting.set_exception(error)
        else:
            self._put_back(child)

    def _put_back(self, child: Child) -> None:
        if not child.is_alive:
            return  # `_forget` starts another one when it is gone
        if (waiting := self._next_waiting()) is not None:
            waiting.set_result(child)
        else:
            self._idle.append(child)

    def _next_waiting(self) -> "asyncio.Future[Child] | None":
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                return waiting
        return None

    def _forget(self, child: Child) -> None:
        """Nothing is left of it."""
        self._children.discard(child)
        if child in self._idle:
            self._idle.remove(child)
        self._start_more()

    def _fail_waiting(self) -> None:
        while (waiting := self._next_waiting()) is not None:
            waiting.set_exception(CannotImport(_CLOSED))
