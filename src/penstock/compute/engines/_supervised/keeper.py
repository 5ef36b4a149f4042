"""Runs one command and sees to it that nothing of it is left: a script between a worker and an inference server.

Standard input is the worker's life line: at its end, also when the worker was killed, every process that came of the command is killed.
SIGTERM is passed on. It ends with the command's own exit code, and only when the last of its processes has ended. (It runs as a file of
its own, without the rest of the package, so that it takes ten milliseconds and a few megabytes.)
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LINUX = sys.platform == "linux"


def main(command: list[str]) -> int:
    if _LINUX:
        # Grandchildren whose parent died become ours, so that we can find them.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent)  # noqa: S603
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be run: {error.strerror}\n")
        return 127
    signal.signal(signal.SIGTERM, lambda *_: _signal_group(server.pid, signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_worker, args=(server.pid,), daemon=True).start()
    code = server.wait()
    _kill_everything(server.pid)
    return 128 - code if code < 0 else code


def _end_with_worker(group: int) -> None:
    while os.read(0, 4096):
        pass
    _kill_everything(group)


def _kill_everything(group: int) -> None:
    """The command's process group and the processes that left it."""
    _signal_group(group, signal.SIGKILL)
    for pid in descendants(os.getpid()):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def descendants(root: int) -> list[int]:
    """Children, their children and so on, as Linux lists them; elsewhere the group must do."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat") if _LINUX else ():
        try:
            parents[int(stat.parent.name)] = int(stat.read_text("utf-8", "replace").rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def _die_with_parent() -> None:
    if _LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
