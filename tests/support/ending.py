"""How a process that a test started ends: well, or killed with the reason on record. Never left behind: that would fail another test."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

END_SECONDS = 45.0
"""A drain may take 30 s."""
_LAST_WORDS_SECONDS = 5.0


def watched(environment: Mapping[str, str]) -> dict[str, str]:
    """With `faulthandler`: `end` can ask a process that hangs where each of its threads is."""
    return {**environment, "PYTHONFAULTHANDLER": "1"}


def doomed(environment: Mapping[str, str]) -> dict[str, str]:
    """For a process that will be killed: it measures no coverage, because a file that is half written can be lost or torn."""
    return {name: value for name, value in environment.items() if not name.startswith("COVERAGE_PROCESS_")}


def end(process: "subprocess.Popen[bytes]", log: Path | None = None, seconds: float = END_SECONDS) -> tuple[int, bytes]:
    """SIGTERM, unless it has ended: its exit code, and what it still had to say on a piped stdout.

    Raises AssertionError with the end of `log` for one that does not end; it is killed then.
    """
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    return ended(process, log, seconds)


def ended(process: "subprocess.Popen[bytes]", log: Path | None = None, seconds: float = END_SECONDS) -> tuple[int, bytes]:
    """As `end`, for one that was told already."""
    try:
        rest, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        _abort(process)
        said = "" if log is None else log.read_text(errors="replace")[-20_000:]
        raise AssertionError(f"process {process.pid} did not end in {seconds:.0f} s after SIGTERM:\n{said}") from None
    except BaseException:
        kill(process)
        raise
    return process.returncode, rest or b""


def kill(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL; whatever it was doing, nothing is left of it."""
    process.kill()
    process.communicate()


def _abort(process: "subprocess.Popen[bytes]") -> None:
    os.kill(process.pid, signal.SIGABRT)
    try:
        process.communicate(timeout=_LAST_WORDS_SECONDS)
    except subprocess.TimeoutExpired:
        kill(process)
