"""Processes that a benchmark starts, and what /proc says of each one with all its descendants (Linux)."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.01


class NotReady(Exception):
    """A process ended, or did not do in time what it is for."""


class Process:
    def __init__(self, popen: "subprocess.Popen[bytes]", log: Path) -> None:
        self._popen = popen
        self._log = log

    @property
    def _tree(self) -> Iterator[int]:
        todo = [self._popen.pid]
        while todo:
            pid = todo.pop()
            yield pid
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                todo += [int(child) for child in _read(children).split()]

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        stats = (_read(Path(f"/proc/{pid}/stat")) for pid in self._tree)
        # What is before the last bracket is the program's name, which may hold anything.
        fields = [stat.rpartition(")")[2].split() for stat in stats if stat]
        return sum(int(each[11]) + int(each[12]) for each in fields) / _TICKS_PER_SECOND

    def rss_mb(self) -> float:
        statuses = (_read(Path(f"/proc/{pid}/status")) for pid in self._tree)
        return sum(int(kilobytes) for status in statuses for kilobytes in re.findall(r"^VmRSS:\s+(\d+)", status, re.MULTILINE)) / 1024

    def line(self) -> str:
        """The next line of its standard output. Raises NotReady when it ended instead."""
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline().decode()
        if not line:
            raise NotReady(self._obituary())
        return line

    def say(self, text: str) -> None:
        """A line on its standard input."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(text.encode() + b"\n")
        self._popen.stdin.flush()

    def wait_for_end(self, seconds: float = 60.0) -> None:
        """Raises NotReady when it did not end with success."""
        try:
            code = self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise NotReady(f"goes on after {seconds:g} s") from None
        if code:
            raise NotReady(self._obituary())

    def wait_for_port(self, port: int, seconds: float = 60.0) -> None:
        """Raises NotReady."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            if self._popen.poll() is not None:
                raise NotReady(self._obituary())
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(_POLL_SECONDS)
        raise NotReady(f"does not listen after {seconds:g} s")

    def _obituary(self) -> str:
        last = " | ".join(_read(self._log).strip().splitlines()[-3:])
        return f"ended with {self._popen.wait()}: {last}"

    def stop(self) -> None:
        """Ask, then insist; it leads a group of its own, so that its children hear it as well."""
        if self._popen.poll() is None:
            os.killpg(self._popen.pid, signal.SIGTERM)
            self._await_end(_STOP_SECONDS)
            # It is not reaped yet, so that the number still is its group's; children that outlived it end here.
            os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()

    def _await_end(self, seconds: float) -> None:
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up and os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            time.sleep(_POLL_SECONDS)


@contextmanager
def running(
    command: Sequence[str | Path],
    log: Path,
    *,
    announces: bool = False,
    asks: bool = False,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Iterator[Process]:
    """A process for as long as the block. What it prints goes to `log`; with `announces`, its standard output can be read by `line`;
    with `asks` it hears what `say` says."""
    with log.open("wb") as errors:
        popen = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE if asks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if announces else errors,
            stderr=errors,
            env=clean_environment() | dict(environment or {}),
            cwd=directory,
            start_new_session=True,
        )
    process = Process(popen, log)
    try:
        yield process
    finally:
        process.stop()


def announced(process: Process) -> dict[str, str]:
    """What `penstock up --json` says when it is ready. Raises NotReady."""
    facts: dict[str, str] = json.loads(process.line())
    return facts


def clean_environment() -> dict[str, str]:
    """Ours without settings of a gateway: what is measured has the defaults."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _read(path: Path) -> str:
    """Empty for a process that has ended meanwhile."""
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
