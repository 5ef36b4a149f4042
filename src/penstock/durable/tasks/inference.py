"""The call of an inference task: through the pipeline like any request, on its submitter's behalf, answered as a whole."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from penstock.domain.call import Call
from penstock.domain.clock import Clock
from penstock.domain.errors import BadRequest, Internal, PenstockError
from penstock.domain.inference import CLIENT_PATHS, Operation
from penstock.domain.ports import Inference
from penstock.domain.principal import Principal, ServiceClass
from penstock.durable.tasks.submitters import SubmitterRevoked, Submitters
from penstock.wire.errors import error_body

_OPERATIONS = CLIENT_PATHS


@dataclass(frozen=True, slots=True)
class CallResponse:
    status: int
    request_id: str
    body: bytes
    retry_after_seconds: float | None = None
    worth_retrying: bool | None = None


class _PendingResponse:
    """Implements `domain.ports.Reply` for a caller that waits for the whole."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self.answer: asyncio.Future[CallResponse] = asyncio.get_running_loop().create_future()

    def refuse(self, error: PenstockError, headers: bytes) -> None:
        self._resolve(CallResponse(error.status, self._request_id, error_body(error), error.retry_after_seconds, error.retry))

    def send(self, status: int, headers: bytes, body: bytes) -> None:
        self._resolve(CallResponse(status, self._request_id, body))

    def start(self, status: int, headers: bytes) -> None:
        self.refuse(Internal("A task cannot be answered with a stream."), b"")

    def write(self, data: bytes) -> None:
        pass

    def end(self) -> None:
        pass

    def _resolve(self, answer: CallResponse) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class SubmitterCalls:
    """Makes calls for submitters of tasks."""

    def __init__(self, inference: Inference, submitters: Submitters, next_id: Callable[[float], str], clock: Clock) -> None:
        self._inference = inference
        self._submitters = submitters
        self._next_id = next_id
        self._clock = clock

    async def call(self, org_id: str, submitter_id: str, url: str, body: bytes, *, own_class: bool) -> CallResponse:
        """Cancelling it stops the generation. Raises PortUnavailable when the store cannot say who the submitter is."""
        request_id = self._next_id(self._clock.time())
        submitter = await self._submitters.principal(org_id, submitter_id)
        if isinstance(submitter, SubmitterRevoked):
            return _refused(403, request_id, submitter.code, submitter.message)
        try:
            operation = _operation(url)
            _not_a_stream(body)
        except BadRequest as error:
            return CallResponse(error.status, request_id, error_body(error), None, False)
        return await self._run(submitter, operation, request_id, body, own_class)

    async def _run(self, submitter: Principal, operation: Operation, request_id: str, body: bytes, own_class: bool) -> CallResponse:
        reply = _PendingResponse(request_id)
        call = Call(request_id, operation, body, service_class=None if own_class else ServiceClass.BATCH)
        flight = self._inference.run(submitter, call, reply)
        try:
            return await reply.answer
        except asyncio.CancelledError:
            flight.cancel()
            raise


def _operation(url: str) -> Operation:
    """Raises BadRequest."""
    operation = _OPERATIONS.get(url)
    if operation is None:
        raise BadRequest(f"A url is one of: {', '.join(_OPERATIONS)}.", param="url")
    return operation


class _Streams(msgspec.Struct):
    stream: object = None


def _not_a_stream(body: bytes) -> None:
    """Raises BadRequest. The pipeline refuses what is not a JSON object."""
    try:
        streams = msgspec.json.decode(body, type=_Streams).stream
    except msgspec.MsgspecError:
        return
    if streams not in (None, False):
        raise BadRequest("A task's answer is kept as a whole: leave out 'stream'.", param="stream")


def _refused(status: int, request_id: str, code: str, message: str) -> CallResponse:
    body = msgspec.json.encode({"error": {"message": message, "type": "permission_error", "param": None, "code": code}})
    return CallResponse(status, request_id, body, None, False)
