"""`ollama`: a server of Ollama's native API, which says more than its OpenAI layer: durations, log probabilities, what fits.

Options: `base_url` (default: loopback, port 11434), `model` (serve this one only; fetched when it is not there, unless `pull=no`),
`slots`, `num_ctx` (context to ask for; default: the server's own), `keep_alive` (how long a model stays loaded), `connect_seconds`,
`read_seconds` (longest silence).
"""

import asyncio
import contextlib
import itertools
import os
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, TypeVar

import httpx
import msgspec
import structlog

from penstock.compute.engines import _options as options_
from penstock.compute.engines._ollama import bodies, replies
from penstock.compute.engines._ollama import ndjson as _ndjson
from penstock.compute.engines._probe import ProbeFailed
from penstock.domain.clock import Clock, SystemClock
from penstock.domain.errors import ContextLengthExceeded, DeadlineExceeded, ModelNotFound, UpstreamFailed
from penstock.domain.inference import Operation
from penstock.domain.ports.engine import Answer, Embedded, EmbeddingRequest, EngineFactory, Event, GenerationRequest, Prompt, Started, Token
from penstock.domain.tokens import TokenCount
from penstock.domain.workers import ModelOffer, WorkerLoad
from penstock.wire.chat import generation_replies as answers

OPTIONS = frozenset({"base_url", "model", "pull", "slots", "num_ctx", "keep_alive", "connect_seconds", "read_seconds"})
DEFAULT_BASE_URL = "http://127.0.0.1:11434"
_CAPABILITIES = {"completion": ("chat", "completions", "json_schema"), "tools": ("tools",), "embedding": ("embeddings",)}
"""Ollama's words and ours."""
_WITH_LOGPROBS = (0, 12, 11)
_REPORT_EVERY_SECONDS = 5.0

Struct = TypeVar("Struct")
_log = structlog.get_logger()


class OllamaEngine:
    """Implements both `Engine` and `Generator`."""

    def __init__(self, options: options_.Options, clock: Clock | None = None) -> None:
        options_.check_names("ollama", options, OPTIONS)
        self.slots = options_.whole(options, "slots", 4)
        self._base_url = (options.get("base_url") or DEFAULT_BASE_URL).rstrip("/").removesuffix("/v1")
        self._only = options.get("model", "")
        self._pull = options_.choice(options, "pull", ("yes", "no")) == "yes"
        self._context = options_.whole(options, "num_ctx", 0) if "num_ctx" in options else None
        self._fixed: dict[str, Any] = {"keep_alive": options["keep_alive"]} if options.get("keep_alive") else {}
        self._timeout = httpx.Timeout(
            options_.number(options, "read_seconds", 300.0), connect=options_.number(options, "connect_seconds", 5.0)
        )
        self._clock: Clock = clock or SystemClock()
        self._client: httpx.AsyncClient | None = None
        self._offers: dict[str, ModelOffer] = {}
        self._logprobs = False
        self._thinkers: set[str] = set()
        self._in_flight = 0
        self._ttft_seconds: float | None = None
        self._ids = itertools.count(1)
        self._process = os.urandom(6).hex()

    # the server

    async def open(self) -> None:
        """Raises ProbeFailed when the server does not answer or lacks the model, and it may not be fetched."""
        self._client = httpx.AsyncClient(base_url=self._base_url, timeout=self._timeout, trust_env=False)
        try:
            version = await self._ask("GET", "/api/version", None, replies.Version)
            self._logprobs = version.at_least(*_WITH_LOGPROBS)
            names = [tag.name for tag in (await self._ask("GET", "/api/tags", None, replies.Tags)).models]
            for name in [await self._found(names)] if self._only else names:
                await self._look_at(name)
        except (ProbeFailed, asyncio.CancelledError):
            await self._client.aclose()
            raise

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _found(self, names: Sequence[str]) -> str:
        """The server's own name of the wanted model: without a tag the latest is meant."""
        wanted = self._only if ":" in self._only.rsplit("/", 1)[-1] else f"{self._only}:latest"
        if wanted not in names:
            if not self._pull:
                raise ProbeFailed(f"Ollama does not have the model {self._only!r}; fetch it: ollama pull {self._only}")
            await self._fetch(wanted)
        return wanted

    async def _fetch(self, name: str) -> None:
        """Hours are allowed, silence is not."""
        assert self._client is not None
        reported_at = 0.0
        try:
            async with self._client.stream("POST", "/api/pull", json={"model": name}) as response:
                async for lines in _ndjson.lines(response.aiter_bytes()):
                    progress = msgspec.json.decode(lines[-1], type=replies.PullProgress)
                    if progress.error is not None or response.status_code != 200:
                        raise ProbeFailed(f"Ollama cannot fetch the model {name!r}: {progress.error}")
                    if (now := self._clock.monotonic()) - reported_at > _REPORT_EVERY_SECONDS or progress.status == "success":
                        reported_at = now
                        share = round(100 * progress.completed / progress.total) if progress.total else None
                        _log.info("model_fetching", model=name, status=progress.status, percent=share)
        except (httpx.HTTPError, msgspec.DecodeError, UpstreamFailed) as error:
            raise ProbeFailed(f"Ollama broke off while it fetched the model {name!r}: {error}") from error

    async def _look_at(self, name: str) -> None:
        shown = await self._ask("POST", "/api/show", {"model": name}, replies.Shown)
        capabilities = [ours for theirs in shown.capabilities for ours in _CAPABILITIES.get(theirs, ())]
        if self._logprobs and "chat" in capabilities:
            capabilities.append("logprobs")
        if "thinking" in shown.capabilities:
            self._thinkers.add(name)
        public = self._only or name
        context = min(filter(None, (shown.context_length, self._context)), default=None)
        self._offers[public] = ModelOffer(public, name if public != name else "", context, tuple(capabilities))

    async def _ask(self, method: str, path: str, body: object, kind: type[Struct]) -> Struct:
        assert self._client is not None
        try:
            response = await self._client.request(method, path, json=body)
            if response.status_code != 200:
                raise ProbeFailed(f"{path} answers with status {response.status_code}")
            return msgspec.json.decode(response.content, type=kind)
        except httpx.HTTPError as error:
            raise ProbeFailed(f"there is no Ollama at {self._base_url}: {str(error) or type(error).__name__}") from error
        except msgspec.DecodeError as error:
            raise ProbeFailed(f"{path} does not answer as Ollama does: {error}") from error

    # what a worker asks

    async def models(self) -> tuple[ModelOffer, ...]:
        return tuple(ModelOffer(offer.id, "", offer.context_length, offer.capabilities) for offer in self._offers.values())

    def load(self) -> WorkerLoad:
        """The server has no figures of load: what is in flight from here, and how long the last first token took."""
        return WorkerLoad(running=self._in_flight, ttft_seconds=self._ttft_seconds)

    async def answer(self, operation: Operation, body: bytes) -> Answer:
        return await answers.answer(self, operation, body, self._next_id(), int(self._clock.time()))

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Sequence[Event], None]:
        """One call to the server for each prompt, one after the other: it would queue them anyway.

        Raises UpstreamFailed when an answer breaks off.
        """
        bodies.check(request, logprobs=self._logprobs)
        offer = self._offer(request.model, request.max_tokens)
        readings = [replies.OllamaReplyReader(at, lambda: f"call_{self._next_id()}") for at in range(len(request.prompts))]
        # Not before the server has answered: what it refuses gets a status of its own.
        first: list[Event] = [Started(None)]
        for prompt, reading in zip(request.prompts, readings, strict=True):
            if request.echo and isinstance(prompt, str):
                first.append(Token(reading.choice, prompt))
            async for events in self._read(request, prompt, offer.engine_name or offer.id, reading):
                yield [*first, *events]
                first = []
            if reading.count is None:
                raise UpstreamFailed("The engine's answer broke off.")
            self._ttft_seconds = reading.ttft_seconds
        yield [_sum([reading.count for reading in readings if reading.count is not None])]

    async def _read(
        self, request: GenerationRequest, prompt: Prompt, name: str, reading: replies.OllamaReplyReader
    ) -> AsyncGenerator[Sequence[Event], None]:
        fixed = {**self._fixed, "model": name, **({"think": _thinks(request)} if name in self._thinkers else {})}
        path, body = bodies.generation(request, prompt, fixed, context=self._context)
        async with self._sent(path, body) as response:
            async for lines in _ndjson.lines(response.aiter_bytes()):
                events = [event for line in lines for event in reading.events(replies.read(line))]
                if events:
                    yield events

    async def embed(self, request: EmbeddingRequest) -> Embedded:
        """One call for all inputs. Raises ModelNotFound, UpstreamFailed."""
        offer = self._offer(request.model, None)
        body = bodies.embedding(request, {**self._fixed, "model": offer.engine_name or offer.id})
        async with self._sent("/api/embed", body) as response:
            try:
                made = msgspec.json.decode(await response.aread(), type=replies.Embeddings)
            except msgspec.DecodeError:
                raise UpstreamFailed("The engine sent something that is not its protocol.") from None
        return Embedded(tuple(array("f", vector).tobytes() for vector in made.embeddings), made.prompt_eval_count)

    @contextlib.asynccontextmanager
    async def _sent(self, path: str, body: bodies.Body) -> AsyncIterator[httpx.Response]:
        """The server's answer, counted while it lasts. Leaving closes the connection, which stops the generation.

        Raises the domain's error for any status but 200.
        """
        assert self._client is not None
        self._in_flight += 1
        try:
            async with self._client.stream("POST", path, content=msgspec.json.encode(body)) as response:
                if response.status_code != 200:
                    raise replies.error_of_body(response.status_code, await response.aread())
                yield response
        except httpx.TimeoutException as error:
            raise DeadlineExceeded("The engine fell silent.") from error
        except httpx.HTTPError as error:
            raise UpstreamFailed("The engine broke the connection.") from error
        finally:
            self._in_flight -= 1

    def _offer(self, name: str, max_tokens: int | None) -> ModelOffer:
        offer = self._offers.get(name)
        if offer is None:
            raise ModelNotFound(f"The model '{name}' does not exist on this worker.", param="model")
        if offer.context_length is not None and (max_tokens or 0) >= offer.context_length:
            raise ContextLengthExceeded(
                f"This model's maximum context length is {offer.context_length} tokens. However, you requested {max_tokens} tokens "
                "in the completion alone.",
                param="max_tokens",
            )
        return offer

    def _next_id(self) -> str:
        return f"{self._process}{next(self._ids):012x}"


def _thinks(request: GenerationRequest) -> bool | str:
    """Ollama's `think`: nothing is thought unless the request says how much."""
    effort = request.reasoning_effort
    return effort if effort in {"low", "medium", "high"} else effort not in {"", "none"}


def _sum(counts: Sequence[TokenCount]) -> TokenCount:
    return TokenCount(
        sum(one.prompt for one in counts),
        sum(one.completion for one in counts),
        reasoning=sum(one.reasoning for one in counts),
        estimated=any(one.estimated for one in counts),
    )


MEMBER: EngineFactory = OllamaEngine
