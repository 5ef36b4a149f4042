"""A server of Triton's protocol on both transports: KServe v2 over HTTP and gRPC, the repository and generate extensions.

There is no Triton where the tests run. Its models: `add_sub` and `shout` (an ensemble) take tensors; `sim-small` makes text as vLLM's back
end does, `flat` as TensorRT-LLM's ensemble does, both with the simulator's words. `pieces` is decoupled and takes tensors. A text or prompt
that is EXPLODE makes `shout` fail and the text models refuse.
"""

import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import grpc
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from penstock.compute.engines.sim import SimEngine
from penstock.domain.errors import PenstockError
from penstock.domain.inference import Operation
from penstock.domain.ports.engine import Finished, GenerationRequest, Started, Token
from penstock.domain.tokens import TokenCount
from penstock.wire import tensors
from penstock.wire.tensors import InferRequest, Tensor, TensorSpec
from tests.flow.compute.worker.fake_gateway import running

Body = dict[str, Any]
EXPLODE = "explode now"
TOKEN = "triton-access-token"

TEXT = [TensorSpec("text_output", "BYTES", (-1,))]
COUNTS = ("num_input_tokens", "num_output_tokens")
MODELS: dict[str, tuple[list[TensorSpec], list[TensorSpec], bool]] = {
    "add_sub": (
        [TensorSpec("INPUT0", "INT32", (-1, 4)), TensorSpec("INPUT1", "INT32", (-1, 4))],
        [TensorSpec("OUTPUT0", "INT32", (-1, 4)), TensorSpec("OUTPUT1", "INT32", (-1, 4))],
        False,
    ),
    "shout": (
        [TensorSpec("TEXT", "BYTES", (-1,)), TensorSpec("TIMES", "FP32", (1,), optional=True)],
        [TensorSpec("LOUD", "BYTES", (-1,)), TensorSpec("LENGTH", "BF16", (-1,))],
        False,
    ),
    "pieces": ([TensorSpec("TEXT", "BYTES", (-1,))], [TensorSpec("LETTER", "BYTES", (1,))], True),
    "sim-small": (
        [
            TensorSpec("text_input", "BYTES", (1,)),
            *(TensorSpec(name, "BOOL", (1,), optional=True) for name in ("stream", "exclude_input_in_output", "return_finish_reason")),
            *(TensorSpec(f"return_{name}", "BOOL", (1,), optional=True) for name in COUNTS),
            TensorSpec("sampling_parameters", "BYTES", (1,), optional=True),
        ],
        [*TEXT, TensorSpec("finish_reason", "BYTES", (-1,)), *(TensorSpec(name, "UINT32", (-1,)) for name in COUNTS)],
        True,
    ),
    "flat": (
        [
            TensorSpec("text_input", "BYTES", (-1, 1)),
            TensorSpec("max_tokens", "INT32", (-1, 1), optional=True),
            TensorSpec("random_seed", "UINT64", (-1, 1), optional=True),
            TensorSpec("stop_words", "BYTES", (-1, -1), optional=True),
            TensorSpec("temperature", "FP32", (-1, 1), optional=True),
            TensorSpec("stream", "BOOL", (-1, 1), optional=True),
        ],
        TEXT,
        True,
    ),
}
PENDING = '# TYPE nv_inference_pending_request_count gauge\nnv_inference_pending_request_count{model="add_sub",version="1"} 3\n'


class Refused(Exception):
    """What Triton says when it will not do a thing, with its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class TritonServer:
    def __init__(self, options: dict[str, str], models: Sequence[str] = tuple(MODELS), *, token: str = "", extended: bool = True) -> None:
        """`token`: what its repository wants, as pytriton's does; `extended`: it has Triton's extensions, which KServe's others do not."""
        self.token = token
        self.extended = extended
        self.sim = SimEngine({**options, "models": "sim-small"})
        self.loaded = set(models)
        self.generated: list[Mapping[str, Any]] = []
        """The inputs of each generation, by name."""
        self.running = 0
        self._calls = itertools.count(1)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[tuple[str, str]]:
        """The HTTP address and the gRPC address, while it runs."""
        await self.sim.open()
        server = grpc.aio.server()
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Service(self), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with running(_app(self)) as http_port:
                yield f"http://127.0.0.1:{http_port}", f"127.0.0.1:{port}"
        finally:
            await server.stop(0)
            await self.sim.close()

    def specs(self, name: str) -> tuple[list[TensorSpec], list[TensorSpec], bool]:
        if name not in self.loaded:
            raise Refused(400, f"Request for unknown model: '{name}' is not found")
        return MODELS[name]

    def check_repository(self, token: str | None) -> None:
        """Raises Refused."""
        if not self.extended:
            raise Refused(404, "there is nothing here")
        if self.token and token != self.token:
            raise Refused(403, "this protocol is restricted")

    def infer(self, request: InferRequest) -> list[Tensor]:
        self.specs(request.model)
        given = {one.name: one for one in request.inputs}
        if request.model == "add_sub":
            a, b = given["INPUT0"], given["INPUT1"]
            outputs = [
                Tensor("OUTPUT0", a.shape, "INT32", tuple(x + y for x, y in zip(a.values, b.values, strict=True))),
                Tensor("OUTPUT1", a.shape, "INT32", tuple(x - y for x, y in zip(a.values, b.values, strict=True))),
            ]
        else:
            text = given["TEXT"]
            if text.values == (EXPLODE.encode(),):
                raise Refused(500, "shout exploded")
            times = int(given["TIMES"].values[0]) if "TIMES" in given else 1
            loud = tuple(one.upper() * times for one in text.values)
            outputs = [Tensor("LOUD", text.shape, "BYTES", loud), Tensor("LENGTH", text.shape, "BF16", tuple(map(len, loud)))]
        return [one for one in outputs if not request.outputs or one.name in request.outputs]

    async def generate(self, name: str, given: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        """Output tensors by name, response after response. Raises Refused."""
        self.specs(name)
        self.generated.append(given)
        if given["text_input"] == EXPLODE:
            raise Refused(400, "llm exploded")
        sampling = json.loads(given.get("sampling_parameters", "{}")) if name == "sim-small" else given
        asked = GenerationRequest(
            operation=Operation.COMPLETION,
            model="sim-small",
            prompts=(given["text_input"],),
            max_tokens=sampling.get("max_tokens"),
            seed=sampling.get("seed", sampling.get("random_seed")),
            stop=tuple(sampling.get("stop", sampling.get("stop_words", ()))),
            ignore_eos=bool(sampling.get("ignore_eos")) or (sampling.get("max_tokens") or 0) >= 5000,
        )
        events = self.sim.generate(asked)
        prompt, made, reason = 0, 0, ""
        self.running += 1
        try:
            async for batch in events:
                for event in batch:
                    if isinstance(event, Started):
                        prompt = event.prompt_tokens or 0
                    elif isinstance(event, Token):
                        made += 1
                        yield {"text_output": event.text}
                    elif isinstance(event, Finished):
                        reason = event.reason
                    elif isinstance(event, TokenCount) and name == "sim-small":
                        yield {"text_output": "", "finish_reason": reason, COUNTS[0]: prompt, COUNTS[1]: event.completion}
        except PenstockError as error:
            raise Refused(400, str(error)) from None
        finally:
            self.running -= 1
            await events.aclose()


# --- HTTP ----------------------------------------------------------------------------------------------------------


def _app(triton: TritonServer) -> Starlette:
    async def ready(_: Request) -> Response:
        return Response(status_code=200)

    async def model_ready(request: Request) -> Response:
        return Response(status_code=200 if request.path_params["model"] in triton.loaded else 400)

    async def index(request: Request) -> Response:
        triton.check_repository(request.headers.get(TOKEN))
        return JSONResponse([{"name": name, "version": "1", "state": "READY"} for name in sorted(triton.loaded)])

    async def load(request: Request) -> Response:
        triton.check_repository(request.headers.get(TOKEN))
        name = request.path_params["model"]
        if name not in MODELS:
            return JSONResponse({"error": f"failed to load '{name}', failed to poll from model repository"}, 400)
        triton.loaded.add(name)
        return Response(status_code=200)

    async def unload(request: Request) -> Response:
        triton.loaded.discard(request.path_params["model"])
        return Response(status_code=200)

    async def metadata(request: Request) -> Response:
        name = request.path_params["model"]
        inputs, outputs, _ = triton.specs(name)
        return JSONResponse({"name": name, "versions": ["1"], "platform": "sim", "inputs": _listed(inputs), "outputs": _listed(outputs)})

    async def config(request: Request) -> Response:
        if not triton.extended:
            raise Refused(404, "there is nothing here")
        inputs, _, decoupled = triton.specs(request.path_params["model"])
        listed = [{"name": one.name, "data_type": f"TYPE_{one.datatype}", "optional": one.optional} for one in inputs]
        return JSONResponse({"name": request.path_params["model"], "input": listed, "model_transaction_policy": {"decoupled": decoupled}})

    async def infer(request: Request) -> Response:
        body = json.loads(await request.body()) | {"model": request.path_params["model"]}
        asked = tensors.infer_request(json.dumps(body).encode())
        made = tensors.infer_response(asked.model, "1", asked.id, triton.infer(asked))
        return Response(made, media_type="application/json")

    async def generate_stream(request: Request) -> Response:
        name = request.path_params["model"]
        pieces = triton.generate(name, await request.json())
        try:
            first = await anext(pieces)
        except Refused as error:
            # As the release 2.51 does: an event, with the status of an error.
            return Response(f"data: {json.dumps({'error': str(error)})}\n\n", error.status, media_type="text/event-stream")

        async def events() -> AsyncIterator[bytes]:
            try:
                yield _event(name, first)
                async for piece in pieces:
                    yield _event(name, piece)
            except Refused as error:
                yield f"data: {json.dumps({'error': str(error)})}\n\n".encode()

        return StreamingResponse(events(), media_type="text/event-stream")

    async def metrics(_: Request) -> Response:
        return PlainTextResponse(PENDING)

    async def refuse(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return JSONResponse({"error": str(error)}, error.status)

    return Starlette(
        routes=[
            Route("/v2/health/ready", ready),
            Route("/v2/repository/index", index, methods=["POST"]),
            Route("/v2/repository/models/{model}/load", load, methods=["POST"]),
            Route("/v2/repository/models/{model}/unload", unload, methods=["POST"]),
            Route("/v2/models/{model}", metadata),
            Route("/v2/models/{model}/ready", model_ready),
            Route("/v2/models/{model}/config", config),
            Route("/v2/models/{model}/infer", infer, methods=["POST"]),
            Route("/v2/models/{model}/generate_stream", generate_stream, methods=["POST"]),
            Route("/metrics", metrics),
        ],
        exception_handlers={Refused: refuse},
    )


def _event(model: str, piece: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps({'model_name': model, 'model_version': '1', **piece})}\n\n".encode()


def _listed(specs: Sequence[TensorSpec]) -> list[Body]:
    return [{"name": one.name, "datatype": one.datatype, "shape": list(one.shape)} for one in specs]


# --- gRPC ----------------------------------------------------------------------------------------------------------


class _Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # generated code has no types
    def __init__(self, triton: TritonServer) -> None:
        self._triton = triton

    async def ServerReady(self, _request: Any, _context: Any) -> Any:
        return pb.ServerReadyResponse(ready=True)

    async def ModelReady(self, request: Any, _context: Any) -> Any:
        return pb.ModelReadyResponse(ready=request.name in self._triton.loaded)

    async def _check_repository(self, context: Any) -> None:
        try:
            self._triton.check_repository(dict(context.invocation_metadata()).get(TOKEN))
        except Refused as error:
            code = grpc.StatusCode.UNIMPLEMENTED if error.status == 404 else grpc.StatusCode.PERMISSION_DENIED
            await context.abort(code, str(error))

    async def RepositoryIndex(self, _request: Any, context: Any) -> Any:
        await self._check_repository(context)
        found = [pb.RepositoryIndexResponse.ModelIndex(name=name, version="1", state="READY") for name in sorted(self._triton.loaded)]
        return pb.RepositoryIndexResponse(models=found)

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:
        await self._check_repository(context)
        if request.model_name not in MODELS:
            await context.abort(grpc.StatusCode.INTERNAL, f"failed to load '{request.model_name}', failed to poll from model repository")
        self._triton.loaded.add(request.model_name)
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(self, request: Any, _context: Any) -> Any:
        self._triton.loaded.discard(request.model_name)
        return pb.RepositoryModelUnloadResponse()

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        inputs, outputs, _ = await self._specs(request.name, context)
        kind = pb.ModelMetadataResponse.TensorMetadata
        return pb.ModelMetadataResponse(
            name=request.name,
            versions=["1"],
            inputs=[kind(name=one.name, datatype=one.datatype, shape=one.shape) for one in inputs],
            outputs=[kind(name=one.name, datatype=one.datatype, shape=one.shape) for one in outputs],
        )

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        if not self._triton.extended:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "there is nothing here")
        inputs, _, decoupled = await self._specs(request.name, context)
        response = pb.ModelConfigResponse()
        response.config.name = request.name
        response.config.model_transaction_policy.decoupled = decoupled
        for one in inputs:
            response.config.input.add(name=one.name, optional=one.optional)
        return response

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        await self._specs(request.model_name, context)
        outputs = tuple(one.name for one in request.outputs)
        try:
            made = self._triton.infer(InferRequest(request.model_name, tuple(_tensors(request)), outputs, request.id, {}))
        except Refused as error:
            await context.abort(grpc.StatusCode.INTERNAL, str(error))
        return _response(request, made)

    async def ModelStreamInfer(self, requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            specs = {one.name: one for one in MODELS[request.model_name][1]}
            given = {one.name: _value(one) for one in _tensors(request)}
            try:
                async for piece in self._triton.generate(request.model_name, given):
                    made = [
                        Tensor(name, (1,), specs[name].datatype, (value.encode() if isinstance(value, str) else value,))
                        for name, value in piece.items()
                    ]
                    yield pb.ModelStreamInferResponse(infer_response=_response(request, made))
            except Refused as error:
                yield pb.ModelStreamInferResponse(error_message=str(error))
                continue
            final = pb.ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
            final.parameters["triton_final_response"].bool_param = True
            yield pb.ModelStreamInferResponse(infer_response=final)

    async def _specs(self, name: str, context: Any) -> tuple[list[TensorSpec], list[TensorSpec], bool]:
        try:
            return self._triton.specs(name)
        except Refused as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(error))
            raise


def _tensors(request: Any) -> list[Tensor]:
    pairs = zip(request.inputs, request.raw_input_contents, strict=True)
    return [tensors.from_raw(one.name, one.datatype, one.shape, raw) for one, raw in pairs]


def _value(tensor: Tensor) -> Any:
    values = [one.decode() if isinstance(one, bytes) else one for one in tensor.values]
    return values if tensor.name == "stop_words" else values[0]


def _response(request: Any, made: Sequence[Tensor]) -> Any:
    return pb.ModelInferResponse(
        model_name=request.model_name,
        model_version="1",
        id=request.id,
        outputs=[pb.ModelInferResponse.InferOutputTensor(name=one.name, datatype=one.datatype, shape=one.shape) for one in made],
        raw_output_contents=[tensors.to_raw(one) for one in made],
    )
