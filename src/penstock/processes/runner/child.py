"""A process that runs users' functions, one at a time, for the runner that started it.

`python -m penstock.processes.runner.child FD MEMORY_MB MODULE...`.
What users print goes to the runner, which keeps it with the attempt. The process ends with its socket, or with its parent.
"""

import asyncio
import importlib
import socket
import sys
import traceback
from typing import Any

import msgspec

from penstock.domain.text import storable
from penstock.durable.tasks.limits import shortened
from penstock.processes.runner import child_setup, frames, leftovers
from penstock.processes.runner.frames import HelloFrame
from penstock.processes.runner.function_call import FunctionCall
from penstock.processes.runner.functions import REGISTERED, RegisteredFunction

_READ_BYTES = 1 << 16
_DECLARED = ("name", "queue", "priority", "max_attempts", "timeout_seconds", "backoff_seconds", "backoff_cap_seconds")


def main(arguments: list[str]) -> int:
    """Import the modules, tell the parent what was found, then run one function after the other until it hangs up."""
    connection = socket.socket(fileno=int(arguments[0]))
    connection.set_inheritable(False)
    child_setup.set_up(int(arguments[1]))
    own = leftovers.OwnProcess(connection)
    hello = _import_modules(arguments[2:])
    connection.sendall(frames.packed(hello))
    if hello.problem:
        return 1
    child_setup.log_to_standard_error()
    own.spare_children()
    requests = _FrameReader(connection)
    runs: dict[str, int] = {}
    with asyncio.Runner() as runner:
        while (data := requests.next()) is not None:
            work = frames.to_run(data)
            runs[work.function] = runs.get(work.function, 0) + 1
            answer = FunctionCall(work, connection, runner, own).answer(runs[work.function])
            connection.sendall(frames.packed(answer))
    return 0


def _import_modules(modules: list[str]) -> HelloFrame:
    try:
        for module in modules:
            importlib.import_module(module)
    except BaseException:  # anything may happen at import, and the operator wants to read it
        text = shortened(storable(traceback.format_exc(limit=-8)))
        return HelloFrame(problem=f"the module {module} cannot be imported:\n{text}")
    declarations = [_declaration(function) for function in REGISTERED.values()]
    return HelloFrame(msgspec.Raw(msgspec.json.encode(declarations)))


def _declaration(function: RegisteredFunction) -> dict[str, Any]:
    values = {name: getattr(function, name) for name in _DECLARED}
    return {name: value for name, value in values.items() if value is not None}


class _FrameReader:
    """Frames from the runner, with as few reads as possible."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def next(self) -> bytes | None:
        """None when the runner has closed the socket."""
        if not self._read_until(frames.LENGTH.size):
            return None
        end = frames.LENGTH.size + frames.LENGTH.unpack_from(self._buffer)[0]
        if not self._read_until(end):
            return None
        frame = bytes(self._buffer[frames.LENGTH.size : end])
        del self._buffer[:end]
        return frame

    def _read_until(self, size: int) -> bool:
        while len(self._buffer) < size:
            piece = self._connection.recv(_READ_BYTES)
            if not piece:
                return False
            self._buffer += piece
        return True


if __name__ == "__main__":
    # The functions register themselves in the module that users import, not in a second copy of it.
    sys.exit(main(sys.argv[1:]))
