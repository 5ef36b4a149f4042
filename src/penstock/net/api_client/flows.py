"""What takes more than one call, without I/O: a flow yields calls and pauses in seconds, and is given the answers.

`Client` and `AsyncClient` drive the same flows, each in its own way.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from penstock.net.api_client import calls
from penstock.net.api_client.calls import MOST_IDS, ApiCall, TaskRef, id_of
from penstock.net.api_client.refusals import Refusal
from penstock.net.api_client.values import TaskInfo

Step = ApiCall[Any] | float
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.02, 1.0
_MOST_TRIES = 4
_LONGEST_RETRY_SECONDS = 30.0


def wait(task: TaskRef, timeout_seconds: float | None) -> Generator[Step, Any, TaskInfo]:
    """Until the task has ended. Raises TimeoutError."""
    for pause in _pauses(timeout_seconds):
        info: TaskInfo = yield calls.get(task)
        if info.ended:
            return info
        yield pause
    raise TimeoutError(f"task {id_of(task)} has not ended after {timeout_seconds:g} s")


def result(task: TaskRef, timeout_seconds: float | None) -> Generator[Step, Any, Any]:
    """The result, as soon as there is one. Raises TaskFailed, TimeoutError."""
    info = yield from wait(task, timeout_seconds)
    return calls.succeeded(info)


def results(tasks: Sequence[TaskRef], timeout_seconds: float | None) -> Generator[Step, Any, list[Any]]:
    """In the order of the tasks. Raises TaskFailed for the first one that did not succeed, TimeoutError."""
    ids = [id_of(task) for task in tasks]
    missing = list(dict.fromkeys(ids))
    found: dict[str, tuple[str, Any, Any]] = {}
    for pause in _pauses(timeout_seconds):
        for start in range(0, len(missing), MOST_IDS):
            found |= yield calls.ended_among(missing[start : start + MOST_IDS])
        missing = [each for each in missing if each not in found]
        for task_id, ended in found.items():
            if ended[0] != "succeeded":
                calls.outcome(task_id, "", ended)
        if not missing:
            return [calls.outcome(task_id, "", found[task_id]) for task_id in ids]
        # A task that is not there (any more) would be waited for without end: this call is refused then.
        yield calls.get(missing[0])
        yield pause
    raise TimeoutError(f"{len(missing)} of {len(ids)} tasks have not ended after {timeout_seconds:g} s")


def _pauses(limit_seconds: float | None) -> Iterator[float]:
    """How long to wait before each next look; they grow; the last look comes when the limit is reached."""
    began, pause, left = time.monotonic(), _FIRST_PAUSE_SECONDS, limit_seconds
    while True:
        yield pause if left is None else max(0.0, min(pause, left))
        if left is not None and left <= 0:
            return
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
        left = None if limit_seconds is None else limit_seconds - (time.monotonic() - began)


def retry_pause(call: ApiCall[Any], tries: int, refusal: Refusal | None) -> float | None:
    """Seconds before the call is sent again; None: it is not. `refusal` None: the gateway was not reached, or its answer was lost."""
    if tries >= _MOST_TRIES:
        return None
    usual = 0.1 * 4.0 ** (tries - 1)
    if refusal is None:
        return usual if call.repeatable else None
    if refusal.error.retry is False or refusal.status not in (429, 503):
        return None
    asked = refusal.error.retry_after_seconds
    return usual if asked is None else asked if asked <= _LONGEST_RETRY_SECONDS else None
