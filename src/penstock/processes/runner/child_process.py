"""One child process as its runner sees it: started, given one function at a time, and ended with everything that it started."""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import msgspec
import structlog

from penstock.base.foreign_code import environment_for_foreign_code
from penstock.processes.runner import frames, process_tree
from penstock.processes.runner.child_output import AttemptLog, ChildOutput
from penstock.processes.runner.frames import LENGTH, MOST_FRAME_BYTES, Answer, FromChild, HelloFrame, ProgressFrame, RunFrame
from penstock.processes.runner.guardian import Guardian

log = structlog.get_logger("penstock.runner")
_EXIT_SECONDS = 1.0
_KEPT_OUTPUT_BYTES = 4_000


class CannotImport(Exception):
    """A user's module does not come up; the message has its traceback."""


class Crashed(Exception):
    """The child ended in the middle of a function."""


@dataclass(frozen=True, slots=True)
class ChildOptions:
    modules: tuple[str, ...] = ()
    import_seconds: float = 120.0
    """The longest that the start of a child may take."""
    max_tasks: int = 0
    """After so many functions a child is replaced; 0: never."""
    memory_mb: int = 0
    """The most memory that a child may allocate, in MiB; 0: no limit."""


class Child(asyncio.Protocol):
    """One process, over a socket pair. `open`, `run` again and again, `kill` or `retire`; `ended` is set when nothing of it is left."""

    def __init__(self, options: ChildOptions, guardian: Guardian, on_end: Callable[["Child"], None]) -> None:
        self._options = options
        self._guardian = guardian
        self._on_end = on_end
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._output = ChildOutput()
        self._mark = secrets.token_hex(16)
        self._waiting: asyncio.Future[FromChild] | None = None
        self._report: Callable[[bytes], None] = _ignore
        self._runs = 0
        self._going = False
        self._disconnected = asyncio.Event()
        self._exited = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()
        self.functions: bytes = b"[]"

    @property
    def is_alive(self) -> bool:
        """Whether another function may be given to it."""
        return self._transport is not None and not self._going and not self._exited.is_set()

    async def open(self) -> None:
        """Raises CannotImport."""
        startup = AttemptLog(_KEPT_OUTPUT_BYTES)
        try:
            async with asyncio.timeout(self._options.import_seconds):
                hello = await self._started(startup)
        except TimeoutError:
            self.kill()
            limit = f"it took longer than {self._options.import_seconds:g} s (runner.import_seconds)"
            raise CannotImport(f"the process for functions did not start: {limit}\n{startup.text}".strip()) from None
        except Crashed as error:
            raise CannotImport(f"the process for functions did not start: {error}\n{startup.text}".strip()) from error
        except BaseException:
            self.kill()
            raise
        finally:
            self._output.log = None
        if hello.problem:
            self.kill()
            raise CannotImport(hello.problem)
        self.functions = bytes(hello.functions)

    async def _started(self, startup: AttemptLog) -> HelloFrame:
        loop = asyncio.get_running_loop()
        self._output.log = startup
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = self._spawned(theirs.fileno())
            except BaseException:
                ours.close()
                raise
        self._guardian.add(self._process.pid, self._mark)
        self._ending = loop.create_task(self._end_with_process())
        _watch(self._process, self._exited, loop)
        self._waiting = loop.create_future()
        try:
            await loop.create_unix_connection(lambda: self, sock=ours)
        except BaseException:
            ours.close()
            raise
        hello = await self._waiting
        if not isinstance(hello, HelloFrame):
            raise Crashed("The process said something else than its functions.")
        return hello

    def _spawned(self, socket_fd: int) -> "subprocess.Popen[bytes]":
        """Raises CannotImport."""
        arguments = [str(socket_fd), str(self._options.memory_mb), *self._options.modules]
        written = self._output.open()
        try:
            # A session of its own: Ctrl-C is the runner's to handle, and all that the child starts is in its process group.
            return subprocess.Popen(  # noqa: S603 - our own command; fork and exec, a millisecond
                [sys.executable, "-m", "penstock.processes.runner.child", *arguments],
                pass_fds=[socket_fd],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                env=environment_for_foreign_code(os.environ) | {process_tree.MARK: self._mark},
                start_new_session=True,
            )
        except OSError as error:
            self._output.close()
            self.ended.set()
            raise CannotImport(f"the process for functions cannot be started: {error}") from error
        finally:
            os.close(written)

    async def run(self, work: RunFrame, report: Callable[[bytes], None], kept: AttemptLog) -> Answer:
        """What it prints goes to `kept`. Raises Crashed."""
        if self._transport is None or self._exited.is_set():
            raise Crashed("The process for functions has ended.")
        self._runs += 1
        self._report, self._output.log = report, kept
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(frames.packed(msgspec.structs.replace(work, run=self._runs)))
        try:
            answer = await self._waiting
        finally:
            self._output.drain()
            self._waiting, self._report, self._output.log = None, _ignore, None
        assert not isinstance(answer, HelloFrame | ProgressFrame)
        if answer.left_behind:
            self.kill()
        elif answer.worn or self._runs == self._options.max_tasks:
            self.retire()
        return answer

    def retire(self) -> None:
        """Hang up: it ends by itself, or is killed after a second."""
        self._going = True
        if self._transport is not None:
            self._transport.close()

    def kill(self) -> None:
        """With everything that it started."""
        self._going = True
        self._kill_group()
        if self._transport is not None:
            self._transport.abort()

    def _kill_group(self) -> None:
        # Before the process is reaped, its number, which is the group's, belongs to no other process.
        if self._process is not None and self._process.returncode is None:
            process_tree.kill_descendants(self._process.pid)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    # messages of the child

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        if self._going:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= LENGTH.size:
            size = LENGTH.unpack_from(buffer)[0]
            if size > MOST_FRAME_BYTES:
                log.warning("child_message_refused", size_bytes=size)
                self.kill()
                return
            end = LENGTH.size + size
            if len(buffer) < end:
                return
            try:
                message = frames.from_child(bytes(buffer[LENGTH.size : end]))
            except msgspec.MsgspecError as error:
                log.warning("child_message_refused", reason=str(error))
                self.kill()
                return
            del buffer[:end]
            self._receive(message)

    def _receive(self, message: FromChild) -> None:
        if not isinstance(message, HelloFrame) and message.run != self._runs:
            return  # of a function that is over
        if isinstance(message, ProgressFrame):
            self._report(bytes(message.value))
        elif self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(message)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._disconnected.set()

    # its end

    async def _end_with_process(self) -> None:
        """Whichever comes first: the end of the process, which is noticed although a helper of it lives, or of the connection."""
        assert self._process is not None
        exited = asyncio.ensure_future(self._exited.wait())
        disconnected = asyncio.ensure_future(self._disconnected.wait())
        await asyncio.wait([exited, disconnected], return_when=asyncio.FIRST_COMPLETED)
        # A child that closed its socket and lives on is of no use.
        await asyncio.wait([exited], timeout=_EXIT_SECONDS)
        self._kill_group()
        await exited
        # What it has said before its end is still to be read.
        await asyncio.wait([disconnected], timeout=_EXIT_SECONDS)
        disconnected.cancel()
        self._going = True
        self._output.drain()
        code = self._process.wait()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(Crashed(_how_it_ended(code)))
        await asyncio.get_running_loop().run_in_executor(None, process_tree.kill_all_marked, self._mark)
        if self._transport is not None:
            self._transport.abort()
        self._guardian.remove(self._process.pid)
        self._output.close()
        self.ended.set()
        self._on_end(self)


def _watch(process: "subprocess.Popen[bytes]", exited: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
    """Set `exited` when the process has ended, and leave it to be reaped."""
    try:
        watched = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not Linux, or an old one
        threading.Thread(target=_wait_for, args=(process, exited, loop), daemon=True).start()
        return

    def ended() -> None:
        loop.remove_reader(watched)
        os.close(watched)
        exited.set()

    loop.add_reader(watched, ended)


def _wait_for(process: "subprocess.Popen[bytes]", exited: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    except AttributeError:  # macOS: it is reaped, but its group keeps the number as long as it has members
        process.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    except ChildProcessError:
        pass
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(exited.set)


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"The process that ran the function ended with exit code {code}."
    name = signal.Signals(-code).name
    memory = " (out of memory?)" if name == "SIGKILL" else ""
    return f"The process that ran the function was killed by {name}{memory}."


def _ignore(value: bytes) -> None:
    pass
