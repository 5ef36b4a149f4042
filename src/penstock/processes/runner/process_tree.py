"""Processes by their parents and by their mark, and how they are ended. Linux has the list of them in /proc; elsewhere nothing is found."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_MOST_ROUNDS = 10
MARK = "_PENSTOCK_CHILD"
"""Environment variable with a text of its own for each child of a runner; its descendants inherit it."""


def kill_descendants(root: int) -> None:
    """End what a process has started, down to the last grandchild (Linux); what has ended its parent is not found."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        with suppress(OSError, ValueError):
            children.setdefault(_parent(pid)[0], []).append(pid)
    found = list(children.get(root, ()))
    for pid in found:
        found += children.get(pid, ())
    for pid in found:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def kill_marked(mark: str) -> int:
    """End every process that inherited the mark of a child, also one that has left its process group; how many there were (Linux)."""
    wanted, killed = f"{MARK}={mark}".encode(), 0
    for pid in _pids():
        with suppress(OSError):
            if pid != os.getpid() and wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    return killed


def kill_all_marked(mark: str) -> None:
    """Again while there are some: one may be forked while another one is killed."""
    for _ in range(_MOST_ROUNDS):
        if not kill_marked(mark):
            return


def children(parent: int) -> Iterator[tuple[int, str]]:
    """Process id and state of each child."""
    for pid in _pids():
        with suppress(OSError):
            owner, state = _parent(pid)
            if owner == parent:
                yield pid, state


def _parent(pid: int) -> tuple[int, str]:
    """The number of its parent, and its own state. Raises OSError."""
    state, owner = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[:2]
    return int(owner), state.decode()


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - a Path for each is slow
    except OSError:
        return []
