"""The processes that run users' functions: started when they are needed, ended by force when a function takes too long.

A child runs one function at a time. To stop a function early, the child is killed: Python code cannot be interrupted otherwise, and a new
child starts in a moment.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import structlog

from penstock.processes.runner import frames
from penstock.processes.runner.frames import LENGTH, DoneFrame, FromChild, HelloFrame, ProgressFrame, RaisedFrame, RunFrame

log = structlog.get_logger("penstock.runner")
START_SECONDS = 60.0
"""Importing a user's modules may take a while; longer is a fault."""
_EXIT_SECONDS = 1.0


class CannotImport(Exception):
    """A user's module does not come up; the message has its traceback."""


class Crashed(Exception):
    """The child ended in the middle of a function."""


class ChildPool:
    """At most `max_processes` of them. `open` starts the first one, which declares its functions."""

    def __init__(self, modules: Sequence[str], max_processes: int) -> None:
        self._modules = tuple(modules)
        self._max_processes = max_processes
        self._idle: deque[Child] = deque()
        self._alive: set[Child] = set()
        self._starting = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.functions = b"[]"
        """JSON text of the functions and their defaults."""

    async def open(self) -> None:
        """Raises CannotImport."""
        child = await self._start()
        self.functions = bytes(child.functions)
        self._idle.append(child)

    async def close(self) -> None:
        for child in list(self._alive):
            child.kill()
        await asyncio.gather(*(child.ended.wait() for child in list(self._alive)))

    async def run(self, work: RunFrame, report: Callable[[bytes], None]) -> DoneFrame | RaisedFrame:
        """Raises Crashed, CannotImport. Cancelling this kills the child."""
        child = self._pop_idle() or await self._start_or_wait()
        try:
            return await child.run(work, report)
        except BaseException:
            child.kill()
            raise
        finally:
            self._put_back(child)

    def _pop_idle(self) -> "Child | None":
        while self._idle:
            child = self._idle.pop()  # the one that ran last: its memory is warm, and the others may be swapped out
            if child.is_alive:
                return child
            self._alive.discard(child)
        return None

    async def _start_or_wait(self) -> "Child":
        while len(self._alive) + self._starting >= self._max_processes:
            await self._wait_for_free()
            if (child := self._pop_idle()) is not None:
                return child
        self._starting += 1
        try:
            return await self._start()
        except BaseException:
            self._wake_one()
            raise
        finally:
            self._starting -= 1

    async def _wait_for_free(self) -> None:
        """Until a child is idle or another one may start; the caller checks again."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():
                self._wake_one()  # it was our turn, and we have no use for it any more
            raise

    def _wake_one(self) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return

    def _put_back(self, child: "Child") -> None:
        if child.is_alive:
            self._idle.append(child)
        else:
            self._alive.discard(child)
        self._wake_one()

    async def _start(self) -> "Child":
        child = Child(self._modules)
        await child.open()
        self._alive.add(child)
        return child


class Child(asyncio.Protocol):
    """One process, over a socket pair."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = modules
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: asyncio.Future[FromChild] | None = None
        self._report: Callable[[bytes], None] = _ignore
        self._killed = False
        self._reaping: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()
        self.functions: bytes = b"[]"

    @property
    def is_alive(self) -> bool:
        return self._transport is not None and not self._killed

    async def open(self) -> None:
        """Raises CannotImport."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "penstock.processes.runner.child", str(theirs.fileno()), *self._modules]
            # A session of its own: Ctrl-C is the runner's to handle. Output goes where ours goes, but stdout belongs to data.
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - fork and exec, a millisecond; our own command
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=2, start_new_session=True
            )
        self._waiting = loop.create_future()
        await loop.create_unix_connection(lambda: self, sock=ours)
        try:
            async with asyncio.timeout(START_SECONDS):
                hello = await self._waiting
        except (TimeoutError, Crashed) as error:
            self.kill()
            raise CannotImport(f"the process for functions did not start: {str(error) or 'it took too long'}") from error
        assert isinstance(hello, HelloFrame)
        if hello.problem:
            self.kill()
            raise CannotImport(hello.problem)
        self.functions = bytes(hello.functions)

    async def run(self, work: RunFrame, report: Callable[[bytes], None]) -> DoneFrame | RaisedFrame:
        """Raises Crashed."""
        if self._transport is None:
            raise Crashed("The process for functions has ended.")
        self._report = report
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(frames.packed(work))
        try:
            answer = await self._waiting
        finally:
            self._waiting, self._report = None, _ignore
        assert isinstance(answer, DoneFrame | RaisedFrame)
        return answer

    def kill(self) -> None:
        """With everything that it started and that stayed in its session."""
        self._killed = True
        if self._process is not None and self._process.poll() is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self._transport is not None:
            self._transport.abort()

    # messages of the child

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(buffer)[0]
            if len(buffer) < end:
                return
            message = frames.from_child(bytes(buffer[LENGTH.size : end]))
            del buffer[:end]
            self._receive(message)

    def _receive(self, message: FromChild) -> None:
        if isinstance(message, ProgressFrame):
            self._report(bytes(message.value))
        elif self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(message)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._reaping = asyncio.get_running_loop().create_task(self._reap())

    async def _reap(self) -> None:
        """Know how it ended. A child that closed its socket and lives on is of no use."""
        assert self._process is not None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_EXIT_SECONDS):
                await loop.run_in_executor(None, self._process.wait)
        except TimeoutError:
            self.kill()
            await loop.run_in_executor(None, self._process.wait)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(Crashed(_how_it_ended(self._process.returncode)))
        self.ended.set()


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"The process that ran the function ended with exit code {code}."
    name = signal.Signals(-code).name
    memory = " (out of memory?)" if name == "SIGKILL" else ""
    return f"The process that ran the function was killed by {name}{memory}."


def _ignore(value: bytes) -> None:
    pass
