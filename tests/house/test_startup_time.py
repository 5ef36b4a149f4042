"""The command starts at once: quick to import, quick to help."""

import os
import subprocess
import sys

SECONDS = 0.3
RUNS = 5
HEAVY = ("fastapi", "sqlalchemy", "uvicorn", "pydantic", "httpx", "rich", "prompt_toolkit")


def _seconds_for_help() -> float:
    """Of the processor: starting is nothing but computing, and a busy machine would count its other work in the clock's time."""
    process = subprocess.Popen([sys.executable, "-m", "penstock", "--help"], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime


def test_help_is_there_at_once() -> None:
    assert min(_seconds_for_help() for _ in range(RUNS)) < SECONDS


def test_the_entry_point_imports_nothing_heavy() -> None:
    program = f"import sys, penstock.cli.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
