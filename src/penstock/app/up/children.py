"""Worker processes beside the gateway: started, watched, started again, and never left behind."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger("penstock.children")
_FIRST_PAUSE_SECONDS = 0.25
_LAST_PAUSE_SECONDS = 10.0
_SOUND_AFTER_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1
_USAGE = 2
"""The exit code of a process that was told something impossible: told the same again it would end the same."""


@dataclass(frozen=True, slots=True)
class ChildPlan:
    name: str
    arguments: Sequence[str]
    """Of the `penstock` command."""
    environment: Mapping[str, str]
    """On top of ours."""
    log_file: Path


class WorkerProcesses:
    """One supervised process for each plan."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self.given_up: list[str] = []
        """Names of those that ended because what they were told cannot work."""

    @property
    def running(self) -> dict[str, int]:
        """Process ids by name."""
        return {name: process.pid for name, process in self._running.items() if process.returncode is None}

    def start(self, plan: ChildPlan) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(self._keep_running(plan)))

    async def stop(self, seconds: float) -> None:
        """SIGTERM lets them drain; what is left after `seconds` is killed."""
        self._stopping.set()
        for process in self._running.values():
            _signal(process, signal.SIGTERM)
        _, late = await asyncio.wait(self._tasks, timeout=seconds) if self._tasks else (set(), set())
        if late:
            for process in self._running.values():
                _signal(process, signal.SIGKILL)
            await asyncio.wait(late)

    async def _keep_running(self, plan: ChildPlan) -> None:
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            started = loop.time()
            code = await self._run_once(plan)
            if self._stopping.is_set():
                return
            if code == _USAGE:
                log.error("worker_not_restarted", name=plan.name, log=str(plan.log_file))
                self.given_up.append(plan.name)
                return
            pause = _FIRST_PAUSE_SECONDS if loop.time() - started > _SOUND_AFTER_SECONDS else min(pause * 2, _LAST_PAUSE_SECONDS)
            log.warning("worker_ended", name=plan.name, exit_code=code, restart_in_seconds=pause, log=str(plan.log_file))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _run_once(self, plan: ChildPlan) -> int:
        with plan.log_file.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "penstock",
                *plan.arguments,
                env={**os.environ, **plan.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A session of its own: Ctrl-C reaches us alone, and we stop the children after the streams have finished.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self._running[plan.name] = process
        if self._stopping.is_set():  # meanwhile; `stop` did not see this one
            _signal(process, signal.SIGTERM)
        try:
            return await process.wait()
        finally:
            del self._running[plan.name]


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        process.send_signal(number)


def _die_with_parent() -> None:
    """In the child, before exec: when we are killed, the kernel kills it too, so that no orphan holds its identity (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
