"""Triton over gRPC: KServe v2's GRPCInferenceService. Needs the extra `triton`; imported only when it is chosen."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from penstock.compute.engines._probe import ProbeFailed
from penstock.compute.engines._triton.server import error_of, log_failure
from penstock.compute.engines._triton.text import Fields, ModelInfo
from penstock.domain.errors import DeadlineExceeded, PenstockError, UpstreamFailed
from penstock.wire import tensors
from penstock.wire.tensors import InferRequest, Tensor, TensorSpec

_FINAL = "triton_final_response"
_LARGEST_MESSAGE_BYTES = 64 * 1024 * 1024


class _AbsentMethod(ProbeFailed):
    """The server does not have the model, or not this call: it is another one than Triton, whose extension this is."""


class GrpcServer:
    """Implements `_triton_server.Server`."""

    def __init__(self, address: str, connect_seconds: float, read_seconds: float, headers: Mapping[str, str]) -> None:
        """`address`: `host:port`; `headers`: metadata of every call."""
        self._metadata = tuple((name.lower(), value) for name, value in headers.items())
        self._address = address
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None

    async def open(self) -> None:
        limits = [("grpc.max_receive_message_length", _LARGEST_MESSAGE_BYTES), ("grpc.max_send_message_length", _LARGEST_MESSAGE_BYTES)]
        self._channel = grpc.aio.insecure_channel(self._address, options=limits)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()

    async def ready(self) -> bool:
        try:
            return bool((await self._ask(self._stub.ServerReady, pb.ServerReadyRequest())).ready)
        except ProbeFailed:
            return False

    async def has(self, name: str) -> bool:
        try:
            return bool((await self._ask(self._stub.ModelReady, pb.ModelReadyRequest(name=name))).ready)
        except _AbsentMethod:
            return False

    async def ready_models(self) -> Sequence[str]:
        index = await self._ask(self._stub.RepositoryIndex, pb.RepositoryIndexRequest(ready=True))
        return sorted({one.name for one in index.models if one.state in {"READY", ""}})

    async def describe(self, name: str) -> ModelInfo:
        metadata = await self._ask(self._stub.ModelMetadata, pb.ModelMetadataRequest(name=name))
        try:
            config = (await self._ask(self._stub.ModelConfig, pb.ModelConfigRequest(name=name))).config
        except _AbsentMethod:
            config = pb.ModelConfigResponse().config
        optional = {one.name for one in config.input if one.optional}
        return ModelInfo(
            name,
            metadata.versions[-1] if metadata.versions else "",
            tuple(TensorSpec(one.name, one.datatype, tuple(one.shape), one.name in optional) for one in metadata.inputs),
            tuple(TensorSpec(one.name, one.datatype, tuple(one.shape)) for one in metadata.outputs),
            config.model_transaction_policy.decoupled,
        )

    async def load(self, name: str) -> None:
        await self._ask(self._stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name=name), self._read_seconds)

    async def unload(self, name: str) -> None:
        await self._ask(self._stub.RepositoryModelUnload, pb.RepositoryModelUnloadRequest(model_name=name), self._read_seconds)

    async def infer(self, request: InferRequest, body: bytes) -> bytes:
        call = _message(request.model, request.inputs, request.id)
        call.outputs.extend(pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in request.outputs)
        for name, value in request.parameters.items():
            call.parameters[name].CopyFrom(_parameter(value))
        try:
            response = await self._stub.ModelInfer(call, timeout=self._read_seconds, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise _error(request.model, error) from error
        return tensors.infer_response(response.model_name, response.model_version, response.id, _outputs(response))

    async def generate(self, info: ModelInfo, fields: Fields) -> AsyncGenerator[Sequence[Mapping[str, Any]], None]:
        """Outputs as they arrive, by name. Closing the generator cancels the call. Raises the domain's error for what the server says."""
        specs = {spec.name: spec for spec in info.inputs}
        call = _message(info.name, [_given(specs[name], value) for name, value in fields.items()], "")
        # So that the end is a message of its own also when the last piece was empty.
        call.parameters["triton_enable_empty_final_response"].bool_param = True

        async def asked() -> AsyncIterator[Any]:
            yield call

        stream = self._stub.ModelStreamInfer(asked(), metadata=self._metadata)
        try:
            async for answer in stream:
                if answer.error_message:
                    raise error_of(False, False, answer.error_message)
                response = answer.infer_response
                if response.outputs:
                    yield [{one.name: _plain(one) for one in _outputs(response)}]
                if not info.decoupled or (_FINAL in response.parameters and response.parameters[_FINAL].bool_param):
                    return
        except grpc.aio.AioRpcError as error:
            raise _error(info.name, error) from error
        finally:
            stream.cancel()

    async def _ask(self, method: Any, question: Any, timeout: float | None = None) -> Any:
        try:
            return await method(question, timeout=timeout or self._connect_seconds, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                raise ProbeFailed(f"there is no Triton at {self._address}: {error.details()}") from error
            kind = _AbsentMethod if error.code() in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND} else ProbeFailed
            raise kind(f"Triton refuses: {error.details()}") from error


def _message(model: str, inputs: Sequence[Tensor], request_id: str) -> Any:
    return pb.ModelInferRequest(
        model_name=model,
        id=request_id,
        inputs=[pb.ModelInferRequest.InferInputTensor(name=one.name, datatype=one.datatype, shape=one.shape) for one in inputs],
        raw_input_contents=[tensors.to_raw(one) for one in inputs],
    )


def _parameter(value: object) -> Any:
    if isinstance(value, bool):
        return pb.InferParameter(bool_param=value)
    if isinstance(value, int):
        return pb.InferParameter(int64_param=value)
    if isinstance(value, float):
        return pb.InferParameter(double_param=value)
    return pb.InferParameter(string_param=str(value))


def _given(spec: TensorSpec, value: object) -> Tensor:
    """A plain value in the shape that the model wants: one element, or as many as a list has in the last place."""
    values = tuple(value) if isinstance(value, list) else (value,)
    shape = (1,) * (len(spec.shape) - 1) + (len(values),)
    return Tensor(spec.name, shape, spec.datatype, tuple(one.encode() if isinstance(one, str) else one for one in values))


def _outputs(response: Any) -> list[Tensor]:
    try:
        if response.raw_output_contents:
            pairs = zip(response.outputs, response.raw_output_contents, strict=True)
            return [tensors.from_raw(one.name, one.datatype, one.shape, raw) for one, raw in pairs]
        return [_typed(one) for one in response.outputs]
    except ValueError:
        raise UpstreamFailed("The engine sent a tensor that does not fit its shape.") from None


def _typed(output: Any) -> Tensor:
    """Contents in their own fields instead of raw bytes: exactly one of them is filled."""
    filled = output.contents.ListFields()
    return Tensor(output.name, tuple(output.shape), output.datatype, tuple(filled[0][1]) if filled else ())


def _plain(tensor: Tensor) -> list[Any]:
    return [one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in tensor.values]


def _error(model: str, error: grpc.aio.AioRpcError) -> PenstockError:
    code, details = error.code(), error.details() or ""
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded("The engine did not answer in time.")
    if code == grpc.StatusCode.INVALID_ARGUMENT:
        return error_of(False, False, details)
    if code == grpc.StatusCode.NOT_FOUND or "unknown model" in details:
        return error_of(False, True, details)
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED:
        return error_of(True, False, "")
    log_failure(model, code.name, details)
    return UpstreamFailed("The engine broke the connection." if code == grpc.StatusCode.UNAVAILABLE else "The engine failed.")
