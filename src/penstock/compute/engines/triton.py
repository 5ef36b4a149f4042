"""`triton`: NVIDIA Triton, or another server of KServe's inference protocol v2: tensors in, tensors out, and its LLM back ends.

Options: `base_url` (HTTP; default: loopback, port 8000), `grpc` (host:port: speak gRPC instead), `model` (serve this one only; loaded when
it is not, and unloaded at the end), `headers` (NAME=VALUE,NAME=VALUE: with every call, in gRPC as metadata), `openai_url`, `openai_secret`
(its OpenAI front end: chat, completions and embeddings go there), `metrics_url`, `slots`, `probe_seconds`, `connect_seconds`,
`read_seconds` (longest silence).
"""

import asyncio
import itertools
import os
from collections.abc import AsyncGenerator, Sequence

import httpx
import structlog

from penstock.compute.engines import _options as options_
from penstock.compute.engines import _signals
from penstock.compute.engines._probe import ProbeFailed
from penstock.compute.engines._relay import MOST_MISSED, OpenAiRelay
from penstock.compute.engines._triton import text
from penstock.compute.engines._triton.http import HttpServer
from penstock.compute.engines._triton.server import TritonServer
from penstock.compute.engines._triton.text import ModelInfo
from penstock.domain.clock import Clock, SystemClock
from penstock.domain.errors import BadRequest, ModelNotFound, UnsupportedParameter
from penstock.domain.inference import Operation
from penstock.domain.ports.engine import Answer, Embedded, EmbeddingRequest, EngineFactory, Event, GenerationRequest, Started
from penstock.domain.tokens import TokenCount
from penstock.domain.workers import ModelOffer, WorkerLoad
from penstock.wire import tensors
from penstock.wire.chat import generation_replies as answers
from penstock.wire.upstream_access import headers_of

OPTIONS = frozenset(
    {
        *("base_url", "grpc", "model", "headers", "openai_url", "openai_secret", "metrics_url", "slots"),
        *("probe_seconds", "connect_seconds", "read_seconds"),
    }
)
DEFAULT_BASE_URL = "http://127.0.0.1:8000"
_JSON = [(b"content-type", b"application/json")]
_log = structlog.get_logger()


class TritonEngine:
    """Implements `Engine`, `Generator` and `MayBeAway`."""

    def __init__(self, options: options_.Options, clock: Clock | None = None) -> None:
        options_.check_names("triton", options, OPTIONS)
        self.slots = options_.whole(options, "slots", 64)
        self._only = options.get("model", "")
        self._probe_seconds = options_.number(options, "probe_seconds", 2.0)
        connect, read = options_.number(options, "connect_seconds", 5.0), options_.number(options, "read_seconds", 300.0)
        self._server = _server(options, connect, read)
        self._front: OpenAiRelay | None = None
        if url := options.get("openai_url"):
            secret = options.get("openai_secret", "")
            self._front = OpenAiRelay(url, secret=secret, slots=self.slots, connect_seconds=connect, read_seconds=read)
        self._metrics_url = options.get("metrics_url", "")
        self._clock: Clock = clock or SystemClock()
        self._models: dict[str, ModelInfo] = {}
        self._loaded = False
        """By us: then it is ours to unload."""
        self._in_flight = 0
        self._missed = 0
        """Looks in a row that found no server."""
        self._reading: _signals.EngineMetrics | None = None
        self._watching: asyncio.Task[None] | None = None
        self._metrics: httpx.AsyncClient | None = None
        self._ids = itertools.count(1)
        self._process = os.urandom(6).hex()

    @property
    def is_away(self) -> bool:
        return self._missed >= MOST_MISSED

    async def open(self) -> None:
        """Raises ProbeFailed when the server is not there, not ready, or lacks the model."""
        await self._server.open()
        try:
            await self._find_models()
            if self._front is not None:
                await self._front.open()
        except (ProbeFailed, asyncio.CancelledError):
            await self._server.close()
            raise
        self._metrics = httpx.AsyncClient(trust_env=False, timeout=5.0)
        self._watching = asyncio.create_task(self._watch())

    async def _find_models(self) -> None:
        if not await self._server.ready():
            raise ProbeFailed("Triton is not there, or not ready")
        if self._only and not await self._server.has(self._only):
            await self._server.load(self._only)
            self._loaded = True
        await self._look()
        if self._only and self._only not in self._models:
            raise ProbeFailed(f"Triton did not load the model {self._only!r}")
        if self._only and self._front is None and (info := self._models[self._only]).decoupled and not info.makes_text:
            raise ProbeFailed(f"the model {self._only!r} is decoupled and makes no text: it cannot be served")

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        if self._metrics is not None:
            await self._metrics.aclose()
        if self._front is not None:
            await self._front.close()
        if self._loaded:
            try:
                await self._server.unload(self._only)
            except ProbeFailed as error:
                _log.warning("model_not_unloaded", reason=str(error))
        await self._server.close()

    async def models(self) -> tuple[ModelOffer, ...]:
        front = {offer.id: offer for offer in await self._front.models()} if self._front is not None else {}
        offers = []
        for name, info in self._models.items():
            known = front.pop(name, None)
            tensors_ = () if info.decoupled else ("infer",)
            capabilities = (*tensors_, *(known.capabilities if known is not None else ("completions",) if info.makes_text else ()))
            if capabilities:
                offers.append(ModelOffer(name, "", None if known is None else known.context_length, capabilities))
        return (*offers, *(offer for offer in front.values() if not self._only))

    def load(self) -> WorkerLoad:
        """What waits is Triton's own figure where it has metrics; what runs is what went there from here."""
        waiting = 0 if self._reading is None else self._reading.load.waiting
        return WorkerLoad(running=self._in_flight, waiting=waiting)

    async def answer(self, operation: Operation, body: bytes) -> Answer:
        if operation is Operation.INFER:
            return await self._infer(body)
        if self._front is not None:
            return await self._front.answer(operation, body)
        return await answers.answer(self, operation, body, f"{self._process}{next(self._ids):012x}", int(self._clock.time()))

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Sequence[Event], None]:
        """One call to the server for each prompt, one after the other. Raises BadRequest for a model that takes tensors."""
        info = self._info(request.model)
        if not info.makes_text:
            raise BadRequest(f"The model '{info.name}' takes tensors, not text: use /v1/models/{info.name}/infer.", param="model")
        asked = [text.fields(request, prompt, info) for prompt in request.prompts]
        readings = [text.TritonReplyReader(at, request.max_tokens) for at in range(len(asked))]
        # Not before the server has answered: what it refuses gets a status of its own.
        first: list[Event] = [Started(None)]
        self._in_flight += 1
        try:
            for reading, fields in zip(readings, asked, strict=True):
                pieces = self._server.generate(info, fields)
                try:
                    async for together in pieces:
                        events = [event for piece in together for event in reading.events(piece)]
                        if first or events:
                            yield [*first, *events]
                            first = []
                finally:
                    await pieces.aclose()
                yield [*first, reading.end()]
                first = []
        finally:
            self._in_flight -= 1
        counts = [reading.count for reading in readings]
        estimated = any(one.estimated for one in counts)
        yield [TokenCount(sum(one.prompt for one in counts), sum(one.completion for one in counts), estimated=estimated)]

    async def embed(self, request: EmbeddingRequest) -> Embedded:
        """Raises UnsupportedParameter: a Triton model takes tensors."""
        raise UnsupportedParameter(f"The model '{request.model}' takes tensors: use /v1/models/{request.model}/infer.", param="model")

    async def _infer(self, body: bytes) -> Answer:
        request = tensors.infer_request(body)
        info = self._info(request.model)
        if info.decoupled:
            raise UnsupportedParameter(
                f"The model '{info.name}' answers in several pieces (decoupled): it takes no tensors.", param="model"
            )
        tensors.check(request, info.inputs, info.outputs)
        self._in_flight += 1
        try:
            return Answer(200, _JSON, await self._server.infer(request, body))
        finally:
            self._in_flight -= 1

    def _info(self, name: str) -> ModelInfo:
        info = self._models.get(name)
        if info is None:
            raise ModelNotFound(f"The model '{name}' does not exist on this worker.", param="model")
        return info

    async def _look(self) -> None:
        if self._only:
            # No index of the repository is needed for it, which other servers than Triton do not have and some protect.
            names: Sequence[str] = [self._only] if await self._server.has(self._only) else []
        else:
            names = await self._server.ready_models()
        known = self._models
        self._models = {name: known.get(name) or await self._server.describe(name) for name in names}

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._probe_seconds)
            try:
                await self._look()
                self._missed = 0
            except ProbeFailed as error:
                self._missed += 1
                _log.warning("engine_unreachable", reason=str(error))
                continue
            try:
                await self._measure()
            except httpx.HTTPError as error:
                _log.warning("engine_unreachable", reason=str(error))

    async def _measure(self) -> None:
        if self._metrics_url and self._metrics is not None:
            page = await self._metrics.get(self._metrics_url)
            self._reading = _signals.read(_signals.table()["triton"], page.text, self._reading)


def _server(options: options_.Options, connect_seconds: float, read_seconds: float) -> TritonServer:
    try:
        headers = headers_of(options_.pairs(options, "headers"))
    except ValueError as error:
        raise options_.BadOption(str(error)) from error
    if "grpc" not in options:
        return HttpServer(options.get("base_url") or DEFAULT_BASE_URL, httpx.Timeout(read_seconds, connect=connect_seconds), headers)
    try:
        # gRPC comes with the extra, and costs a tenth of a second to import.
        from penstock.compute.engines._triton.grpc import GrpcServer
    except ImportError:
        raise options_.BadOption("the option grpc needs the extra: pip install 'penstock[triton]'") from None
    return GrpcServer(options["grpc"], connect_seconds, read_seconds, headers)


MEMBER: EngineFactory = TritonEngine
