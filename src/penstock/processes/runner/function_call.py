"""One run of a user's function in a child process: its arguments, its end as a message, and what is left of it."""

import asyncio
import contextvars
import inspect
import math
import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import msgspec

from penstock.domain.text import storable
from penstock.durable.tasks.limits import PAYLOAD_BYTES, PROGRESS_BYTES, shortened
from penstock.processes.runner import frames, leftovers
from penstock.processes.runner.frames import Answer, DoneFrame, ProgressFrame, RaisedFrame, RunFrame
from penstock.processes.runner.functions import (
    REGISTERED,
    RUN,
    Current,
    FunctionRun,
    GiveUp,
    ProgressTooLarge,
    RegisteredFunction,
    RetryLater,
)

_BETWEEN_REPORTS_SECONDS = 0.1
_SHOWN_STEPS = 6
_OWN_FOLDER = os.path.dirname(__file__)  # noqa: PTH120
_YEAR_SECONDS = 366 * 86_400.0


class FunctionCall:
    """`answer` runs the function; nothing that it does ends this process but `os._exit` and a crash."""

    def __init__(self, work: RunFrame, connection: socket.socket, runner: asyncio.Runner, own: leftovers.OwnProcess) -> None:
        self._work = work
        self._connection = connection
        self._runner = runner
        self._own = own
        self._next_report = 0.0

    def answer(self, runs: int) -> Answer:
        """`runs`: how often this process has run this function by now."""
        run = FunctionRun(Current(self._work.task_id, self._work.attempt, self._work.connection), self._report)
        token = RUN.set(run)
        try:
            answer, is_async = self._called()
            if self._own.is_copy:
                _end_copy(answer)
            left_behind = is_async and leftovers.has_coroutines(self._runner)
        finally:
            run.over = True
            RUN.reset(token)
        _flush()
        function = REGISTERED.get(self._work.function)
        most = None if function is None else function.max_tasks_per_child
        worn = (most is not None and runs >= most) or (isinstance(answer, RaisedFrame) and answer.code == "out_of_memory")
        left_behind = left_behind or self._own.has_children()
        return msgspec.structs.replace(answer, worn=worn, left_behind=left_behind) if worn or left_behind else answer

    def _called(self) -> tuple[Answer, bool]:
        """The end, and whether the function ran in the event loop."""
        function = REGISTERED.get(self._work.function)
        if function is None:
            return self._refused("unknown_function", f"This runner has no function '{self._work.function}'."), False
        signature = _signature(function)
        try:
            arguments, keywords = _arguments(msgspec.json.decode(self._work.payload))
            if signature is not None:
                signature.bind(*arguments, **keywords)
        except (TypeError, RecursionError, msgspec.MsgspecError) as error:
            return self._refused("bad_arguments", f"The payload does not fit {function.name}{signature}: {error}."), False
        is_async = False
        try:
            result = function.run(*arguments, **keywords)
            if inspect.isawaitable(result):
                is_async = True
                result, raised = self._runner.run(_awaited(result), context=contextvars.copy_context())
                if raised is not None:
                    return self._raised(function, raised), is_async
            return self._done(result), is_async
        except BaseException as error:  # also CancelledError, GeneratorExit, SystemExit: the function failed, and this process goes on
            return self._raised(function, error), is_async

    def _done(self, result: Any) -> Answer:
        number = None
        try:
            encoded = msgspec.json.encode(result)
            if len(encoded) <= PAYLOAD_BYTES:
                number = _not_a_number(result, encoded)
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            return self._refused("bad_result", f"What the function returned cannot be written as JSON: {error}.")
        if number is not None:
            return self._refused("bad_result", f"What the function returned cannot be written as JSON: {number}.")
        if len(encoded) > PAYLOAD_BYTES:
            what = f"The result has {len(encoded)} bytes of JSON, and {PAYLOAD_BYTES} bytes may be kept"
            return self._refused("result_too_large", f"{what}: write it to a file and return a reference.")
        return DoneFrame(self._work.run, msgspec.Raw(encoded))

    def _refused(self, code: str, message: str) -> RaisedFrame:
        """Another attempt would end in the same way."""
        return RaisedFrame(self._work.run, code, storable(shortened(message)), final=True)

    def _raised(self, function: RegisteredFunction, error: BaseException) -> RaisedFrame:
        number = self._work.run
        if isinstance(error, GiveUp):
            return self._refused("gave_up", _text_of(error))
        if isinstance(error, RetryLater) and isinstance(delay := getattr(error, "delay", None), int | float):
            return RaisedFrame(number, "retry_later", storable(shortened(_text_of(error))), retry_seconds=float(delay))
        code = "out_of_memory" if isinstance(error, MemoryError) else "raised"
        final = function.retry_on is not None and not isinstance(error, function.retry_on)
        pause = None if final else _pause(function, self._work.attempt)
        return RaisedFrame(number, code, storable(shortened(_traceback_of(error))), final, pause)

    def _report(self, value: Any) -> None:
        """A function in a tight loop may report as often as it likes: what comes too soon after the last report is left out."""
        encoded = msgspec.json.encode(value)
        if len(encoded) > PROGRESS_BYTES:
            raise ProgressTooLarge(f"a progress report has at most {PROGRESS_BYTES} bytes of JSON, this one has {len(encoded)}")
        now = time.monotonic()
        if now < self._next_report or self._own.is_copy:
            return
        self._next_report = now + _BETWEEN_REPORTS_SECONDS
        self._connection.sendall(frames.packed(ProgressFrame(self._work.run, msgspec.Raw(encoded))))


@cache
def _signature(function: RegisteredFunction) -> inspect.Signature | None:
    """None: it has none that can be read, as some functions in C."""
    try:
        return inspect.signature(function.run)
    except (TypeError, ValueError):
        return None


async def _awaited(result: Any) -> tuple[Any, BaseException | None]:
    """An exception as a value: some of them would end the event loop."""
    try:
        return await result, None
    except BaseException as error:
        return None, error


def _arguments(payload: Any) -> tuple[list[Any], dict[str, Any]]:
    match payload:
        case dict():
            return [], payload
        case list():
            return payload, {}
        case None:
            return [], {}
    return [payload], {}


def _not_a_number(result: Any, encoded: bytes) -> str | None:
    """JSON has no NaN and no infinity; the encoder would write null for them."""
    if b"null" not in encoded:
        return None
    return next((f"{value} at {path}" for path, value in _floats("$", msgspec.to_builtins(result)) if not math.isfinite(value)), None)


def _floats(path: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _floats(f"{path}.{key}", inner)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _floats(f"{path}[{index}]", inner)


def _pause(function: RegisteredFunction, attempt: int) -> float | None:
    """As the function's own `backoff` says; None, which is the ordinary backoff, when it says nothing usable."""
    if function.pause_after is None:
        return None
    try:
        return min(max(float(function.pause_after(attempt)), 0.0), _YEAR_SECONDS)
    except Exception:
        traceback.print_exc()
        return None


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # of a class of the user's
        return type(error).__name__


def _traceback_of(error: BaseException) -> str:
    """The exception and where in the user's code it came from; our own frames are left out."""
    steps = traceback.extract_tb(error.__traceback__)
    own = [step for step in steps if os.path.dirname(step.filename) != _OWN_FOLDER]  # noqa: PTH120 - text, not a file
    where = "".join(traceback.format_list(own[-_SHOWN_STEPS:]))
    if isinstance(error, SystemExit):
        what = f"The function called sys.exit({error.code!r})."
    else:
        what = shortened("".join(traceback.format_exception_only(error))).strip()
    return f"{what}\n{where}".strip()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # the function may have closed or replaced it
            stream.flush()


def _end_copy(answer: Answer) -> None:
    """A forked copy of this process has come to the end of the function, too: it has nothing to tell."""
    if isinstance(answer, RaisedFrame):
        sys.stderr.write(f"{answer.message}\n")
    _flush()
    os._exit(int(isinstance(answer, RaisedFrame)))
