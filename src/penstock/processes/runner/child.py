"""A process that runs users' functions, one at a time, for the runner that started it.

`python -m penstock.processes.runner.child FD MODULE...`.
What users print goes to the runner's standard error. The process ends with its socket, or with its parent.
"""

import asyncio
import ctypes
import importlib
import inspect
import signal
import socket
import sys
import time
import traceback
from functools import cache
from typing import Any

import msgspec

from penstock.processes.runner import frames, functions
from penstock.processes.runner.frames import DoneFrame, FromChild, HelloFrame, ProgressFrame, RaisedFrame
from penstock.processes.runner.functions import REGISTERED, Current, RegisteredFunction, RetryLater

_PR_SET_PDEATHSIG = 1
_BETWEEN_REPORTS_SECONDS = 0.1
_READ_BYTES = 1 << 16


def main(arguments: list[str]) -> int:
    """Import the modules, tell the parent what was found, then run one function after the other until it hangs up."""
    _die_with_parent()
    connection = socket.socket(fileno=int(arguments[0]))
    hello = _import_modules(arguments[1:])
    connection.sendall(frames.packed(hello))
    if hello.problem:
        return 1
    requests = _FrameReader(connection)
    with asyncio.Runner() as runner:
        while (data := requests.next()) is not None:
            run = frames.to_run(data)
            functions.begin(Current(run.task_id, run.attempt), _ProgressSender(connection).send)
            answer = _call(runner, run)
            functions.begin(None, None)
            connection.sendall(frames.packed(answer))
    return 0


def _import_modules(modules: list[str]) -> HelloFrame:
    try:
        for module in modules:
            importlib.import_module(module)
    except BaseException:  # anything may happen at import, and the operator wants to read it
        return HelloFrame(problem=f"the module {module} cannot be imported:\n{traceback.format_exc(limit=-8)}")
    declarations = [_declaration(function) for function in REGISTERED.values()]
    return HelloFrame(msgspec.Raw(msgspec.json.encode(declarations)))


def _declaration(function: RegisteredFunction) -> dict[str, Any]:
    values = {name: getattr(function, name) for name in ("name", "queue", "priority", "max_attempts", "timeout_seconds")}
    return {name: value for name, value in values.items() if value is not None}


def _call(runner: asyncio.Runner, run: frames.RunFrame) -> FromChild:
    function = REGISTERED.get(run.function)
    if function is None:
        return RaisedFrame("unknown_function", f"This runner has no function '{run.function}'.", final=True)
    arguments, keywords = _arguments(msgspec.json.decode(run.payload))
    signature = _signature(function)
    try:
        signature.bind(*arguments, **keywords)
    except TypeError as error:
        return RaisedFrame("bad_arguments", f"The payload does not fit {function.name}{signature}: {error}.", final=True)
    try:
        result = function.run(*arguments, **keywords)
        if inspect.isawaitable(result):
            result = runner.run(_awaited(result))
    except RetryLater as later:
        return RaisedFrame("retry_later", str(later), retry_seconds=later.delay)
    except SystemExit as error:
        return RaisedFrame("raised", f"The function called sys.exit({error.code!r}).")
    except Exception as error:
        return RaisedFrame("raised", _traceback_of(error))
    try:
        return DoneFrame(msgspec.Raw(msgspec.json.encode(result)))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        return RaisedFrame("bad_result", f"What the function returned cannot be written as JSON: {error}.", final=True)


@cache
def _signature(function: RegisteredFunction) -> inspect.Signature:
    return inspect.signature(function.run)


async def _awaited(result: Any) -> Any:
    return await result


def _arguments(payload: Any) -> tuple[list[Any], dict[str, Any]]:
    match payload:
        case dict():
            return [], payload
        case list():
            return payload, {}
        case None:
            return [], {}
    return [payload], {}


def _traceback_of(error: Exception) -> str:
    """The exception and where in the user's code it came from; our own frames are left out."""
    steps = traceback.extract_tb(error.__traceback__)
    own = [step for step in steps if step.filename != __file__]
    where = "".join(traceback.format_list(own[-6:]))
    return f"{''.join(traceback.format_exception_only(error)).strip()}\n{where}".strip()


class _ProgressSender:
    """A function in a tight loop may report as often as it likes: what comes too soon after the last report is left out."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._next = 0.0

    def send(self, value: Any) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _BETWEEN_REPORTS_SECONDS
        self._connection.sendall(frames.packed(ProgressFrame(msgspec.Raw(msgspec.json.encode(value)))))


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


def _die_with_parent() -> None:
    """When the runner is killed, the kernel kills us too: a function whose runner is gone must not go on (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    # The functions register themselves in the module that users import, not in a second copy of it.
    sys.exit(main(sys.argv[1:]))
