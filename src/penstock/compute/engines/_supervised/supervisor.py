"""Keeps an inference server running beside the worker: started, asked whether it is ready, started again when it dies or hangs.

`keeper.py` stands between, so that no process of it is left when it is stopped, or when this worker is killed.
"""

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import structlog

from penstock.base.foreign_code import environment_for_foreign_code
from penstock.compute.engines._problems import EngineUnavailable
from penstock.compute.engines._supervised import keeper as _keeper
from penstock.compute.engines._supervised.log_file import LogFile

_LAST_WORDS = 12
"""Lines of the server's log in the message of a start that failed."""
_log = structlog.get_logger()


class ServerState(Enum):
    STARTING = "starting"  # the process runs and does not answer yet
    READY = "ready"  # it answers
    RESTING = "resting"  # it ended; the next start waits a little
    STOPPED = "stopped"  # nothing runs, and nothing will


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """What to run and how long to wait for it. Seconds throughout."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """On top of ours; may hold secrets."""
    start_seconds: float = 900.0
    """A large model takes minutes to load."""
    starts: int = 3
    """Attempts at the first start before it is given up; a server that was ready once is started again for ever."""
    first_pause: float = 0.5
    longest_pause: float = 60.0
    sound_after: float = 60.0
    """A server that was ready for this long crashes for a new reason: the pauses begin anew."""
    check_every: float = 2.0
    misses: int = 5
    """Checks in a row without an answer, then it hangs and is killed."""
    stop_seconds: float = 15.0
    memory_bytes: int = 0
    """All its processes together; more, and it is killed. 0: no limit."""
    nice: int = 0


Check = Callable[[], Awaitable[bool]]


class Supervisor:
    """One server. Use as: open, close; `state` and `restarts` tell how it is."""

    def __init__(self, plan: ServerPlan, check: Check, log: LogFile) -> None:
        """`check` asks the server whether it is ready, within a second or two, and never raises."""
        self._plan = plan
        self._check = check
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._first = asyncio.Event()
        self._problem = ""
        self.state = ServerState.STOPPED
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Of the keeper, whose child the server is."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def open(self) -> None:
        """Returns when the server is ready. Raises EngineUnavailable with its last words when it cannot be started."""
        self._keeping = asyncio.create_task(self._keep())
        await self._first.wait()
        if self._problem:
            raise EngineUnavailable(self._problem)

    async def close(self) -> None:
        """SIGTERM to the whole of it; what is left after `stop_seconds` is killed."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        await self._end()
        self.state = ServerState.STOPPED

    # --- its life ------------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        pause, failed, loop = self._plan.first_pause, 0, asyncio.get_running_loop()
        while True:
            ready_at = None
            why = await self._start()
            if not why:
                ready_at, failed = loop.time(), 0
                self.state = ServerState.READY
                self._first.set()
                _log.info("engine_server_ready", pid=self.pid, restarts=self.restarts)
                why = await self._watch()
            elif not self._first.is_set():
                failed += 1
                if failed >= self._plan.starts:
                    await self._give_up(why)
                    return
            if ready_at is not None and loop.time() - ready_at >= self._plan.sound_after:
                pause = self._plan.first_pause
            self.state = ServerState.RESTING
            _log.warning("engine_server_restarted", reason=why, in_seconds=pause)
            self._note(f"{why}; started again in {pause:g} s")
            await self._end(signal.SIGKILL)
            await asyncio.sleep(pause)
            self.restarts += 1
            pause = min(pause * 2, self._plan.longest_pause)

    async def _give_up(self, why: str) -> None:
        await self._end(signal.SIGKILL)
        self.state = ServerState.STOPPED
        log_tail = "\n  ".join(self._log.tail(_LAST_WORDS))
        self._problem = f"{Path(self._plan.command[0]).name} cannot be started: {why}; its last log lines:\n  {log_tail}"
        self._first.set()

    async def _start(self) -> str:
        """Run it until it answers; empty, or why that did not come about."""
        self.state = ServerState.STARTING
        self._note(f"starting {' '.join(self._plan.command)}")
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            _keeper.__file__,
            *self._plan.command,
            env=environment_for_foreign_code(os.environ) | {"PYTHONUNBUFFERED": "1", **self._plan.environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=self._limit,
        )
        ended = asyncio.create_task(self._follow(self._process))
        try:
            async with asyncio.timeout(self._plan.start_seconds):
                while not await self._check():
                    if ended.done():
                        return f"it ended with code {self._process.returncode}"
                    await asyncio.wait([ended], timeout=min(0.25, self._plan.check_every))
            return "" if not ended.done() else "another process answers at its port"
        except TimeoutError:
            return f"it was not ready after {self._plan.start_seconds:g} s"

    async def _watch(self) -> str:
        """Returns why it is no longer of use."""
        assert self._process is not None
        missed = 0
        while missed < self._plan.misses:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._plan.check_every):
                    code = await self._process.wait()
                    return f"it ended with code {code}"
            if 0 < self._plan.memory_bytes < (used := _memory_bytes(self._process.pid)):
                return f"it used {used} bytes of memory, {self._plan.memory_bytes} are allowed"
            missed = 0 if await self._check() else missed + 1
        return f"it did not answer {missed} checks in a row"

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        """Its output to the log, until it ends."""
        assert process.stdout is not None
        while data := await process.stdout.read(65536):
            self._write(data)
        await process.wait()

    async def _end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """With any number all of its processes are gone afterwards: at the end of its input the keeper kills them."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        if number == signal.SIGTERM:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._plan.stop_seconds):
                    await process.wait()
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()

    def _limit(self) -> None:
        """In the child, before exec."""
        if self._plan.nice:
            os.nice(self._plan.nice)
        # Servers hold a socket for each request; the soft limit of many systems is 1024.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def _note(self, text: str) -> None:
        self._write(f"penstock: {text}\n".encode())

    def _write(self, data: bytes) -> None:
        try:
            self._log.write(data)
        except OSError as error:  # a full disk must not stop the server
            _log.warning("engine_log_not_written", reason=str(error))


def _memory_bytes(root: int) -> int:
    """Resident memory of a process and all that came of it (Linux; elsewhere 0). Shared pages are counted once for each."""
    total = 0
    for pid in [root, *_keeper.descendants(root)]:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            continue
    return total
