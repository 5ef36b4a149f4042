"""Tasks that are `/v1` calls, through the same path as every request: the submitter's limits, the fair queue, the meter.

Payload: `{"url": "/v1/chat/completions", "body": {...}, "class": "batch" | "own"}`. Result: `{"status_code", "request_id", "body"}`, also
of a task that failed because the call was refused for good.
"""

import random
from typing import Literal

import msgspec

from penstock.domain.durable.leases import Lease
from penstock.domain.inference import CLIENT_PATHS
from penstock.durable.tasks.inference import CallResponse
from penstock.durable.tasks.outcome import AttemptFailed, Released, Succeeded, TaskOutcome
from penstock.processes.runner.task_kind import InferenceClient, KindFactory, KindOptions, ProgressCallback, Unreachable

URLS = frozenset(CLIENT_PATHS)
_RETRYABLE_STATUSES = frozenset({408, 409, 425, 429}) | frozenset(range(500, 600))
_OVERLOAD_STATUSES = frozenset({429, 503})
_MIN_DELAY_SECONDS, _MAX_DELAY_SECONDS = 1.0, 120.0


class InferencePayload(msgspec.Struct, frozen=True, rename={"class_": "class"}, forbid_unknown_fields=True):
    url: str
    body: msgspec.Raw
    class_: Literal["batch", "own"] = "batch"


class InferenceTaskResult(msgspec.Struct, frozen=True):
    status_code: int
    request_id: str
    body: msgspec.Raw


class InferenceKind:
    abilities = ("inference",)
    functions = "[]"

    def __init__(self, options: KindOptions) -> None:
        assert options.inferences is not None
        self._inferences: InferenceClient = options.inferences
        self._random = random.Random()

    async def open(self) -> None:
        pass

    async def run(self, lease: Lease, report: ProgressCallback, /) -> TaskOutcome:
        try:
            payload = msgspec.json.decode(lease.payload, type=InferencePayload)
        except msgspec.MsgspecError as error:
            return AttemptFailed("bad_payload", f"An inference needs a url and a body: {error}.", final=True)
        if payload.url not in URLS:
            return AttemptFailed("bad_url", f"A url is one of: {', '.join(sorted(URLS))}.", final=True)
        try:
            answer = await self._inferences.call(lease, payload.url, bytes(payload.body), own_class=payload.class_ == "own")
        except Unreachable as error:
            return Released(self._retry_delay(None)) if lease.max_attempts > 1 else AttemptFailed("unreachable", str(error))
        return self._outcome(answer)

    def _outcome(self, answer: CallResponse) -> TaskOutcome:
        result = msgspec.json.encode(InferenceTaskResult(answer.status, answer.request_id, _json(answer.body))).decode()
        if answer.status < 400:
            return Succeeded(result)
        code, message = _error_of(answer)
        if answer.status not in _RETRYABLE_STATUSES or answer.worth_retrying is False:
            return AttemptFailed(code, message, final=True, result=result)
        if answer.status in _OVERLOAD_STATUSES:
            # The gateway is busy, or no worker serves the model: the task is not at fault.
            return Released(self._retry_delay(answer.retry_after_seconds))
        return AttemptFailed(code, message, retry_seconds=answer.retry_after_seconds, result=result)

    def _retry_delay(self, asked: float | None) -> float:
        """The delay that was asked for, with jitter: tasks that were refused together should not come back together."""
        least = min(max(asked or 0.0, _MIN_DELAY_SECONDS), _MAX_DELAY_SECONDS)
        return least * self._random.uniform(1.0, 1.5)

    async def close(self) -> None:
        pass


def _json(body: bytes) -> msgspec.Raw:
    try:
        msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return msgspec.Raw(msgspec.json.encode(body.decode("utf-8", "replace")))
    return msgspec.Raw(body)


def _error_of(answer: CallResponse) -> tuple[str, str]:
    try:
        error = msgspec.json.decode(answer.body)["error"]
        return str(error.get("code") or error["type"]), str(error["message"])
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
        return f"http_{answer.status}", f"The call was answered with HTTP {answer.status}."


MEMBER: KindFactory = InferenceKind
