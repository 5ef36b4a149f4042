"""`transformers`: a model of the Hugging Face kind in this process, from a folder or the hub, on any device of this machine.

Requests are generated together (continuous batching), each with its own parameters and seed. Options: `model` (folder or hub id; needed),
`name` (as clients name it; default: the folder's name or the hub id), `revision`, `device` (auto, cpu, cuda, cuda:N, mps), `dtype` (auto,
float32, bfloat16, float16), `slots` (sequences generated together), `context_length`, `kv_tokens` (room of the cache), `threads`.
"""

import asyncio
import itertools
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from penstock.compute.engines import _options as options_
from penstock.compute.engines._problems import EngineUnavailable
from penstock.domain.errors import BadRequest, ContextLengthExceeded, ModelNotFound, UnsupportedParameter
from penstock.domain.inference import Operation
from penstock.domain.ports.engine import (
    Answer,
    Conversation,
    Embedded,
    EmbeddingRequest,
    EngineFactory,
    Event,
    Finished,
    GenerationRequest,
    Started,
    Token,
)
from penstock.domain.tokens import TokenCount
from penstock.domain.workers import ModelOffer, WorkerLoad
from penstock.wire.chat import generation_replies as answers

if TYPE_CHECKING:
    from penstock.compute.engines._transformers.model import Loaded
    from penstock.compute.engines._transformers.sequences import GeneratedSequence, Inbox

OPTIONS = frozenset({"model", "name", "revision", "device", "dtype", "slots", "context_length", "kv_tokens", "threads"})
_NEEDS = "the engine 'transformers' needs torch and transformers: pip install 'penstock[transformers]'"
_REPORT_EVERY = 0.1
"""Share of a fetch between two lines of the log."""
_log = structlog.get_logger()


class TransformersEngine:
    """One model. Implements both `Engine` and `Generator`."""

    def __init__(self, options: options_.Options) -> None:
        options_.check_names("transformers", options, OPTIONS)
        if not options.get("model"):
            raise options_.BadOption("the engine 'transformers' needs a model: --model with a folder or a hub id")
        for name in OPTIONS & options.keys() & {"slots", "context_length", "kv_tokens", "threads"}:
            options_.whole(options, name, 1)
        self._options = options
        self._loaded: Loaded | None = None
        self._process = os.urandom(6).hex()
        self._numbers = itertools.count(1)

    @property
    def slots(self) -> int:
        """What the model's device does well; known once it is loaded. Twice of it are let in: the others wait at the model itself."""
        return self._model.slots * 2

    @property
    def batch_is_together(self) -> bool:
        """Whether all rows advance in one pass of the model; otherwise one after the other."""
        return self._model.batch.is_together

    async def open(self) -> None:
        """Fetch and load the model. Raises BadOption and EngineUnavailable."""
        self._loaded = await _in_thread(self._load)
        self._loaded.batch.start()

    async def close(self) -> None:
        if self._loaded is not None:
            await asyncio.to_thread(self._loaded.batch.close)

    async def models(self) -> tuple[ModelOffer, ...]:
        model = self._model
        return (ModelOffer(model.name, context_length=model.context_length, capabilities=model.capabilities),)

    def load(self) -> WorkerLoad:
        batch = self._model.batch
        return WorkerLoad(running=batch.running, waiting=batch.waiting, kv_usage=batch.usage)

    async def answer(self, operation: Operation, body: bytes) -> Answer:
        return await answers.answer(self, operation, body, self._new_id(), int(time.time()))

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Sequence[Event], None]:
        """Tokens of all choices as the batch makes them. Raises UnsupportedParameter for a model of embeddings, ContextLengthExceeded."""
        from penstock.compute.engines._transformers.sequences import Inbox

        model = self._serving(request.model)
        if not model.generates:
            raise UnsupportedParameter("This model makes no text, only embeddings.", param="model")
        prompts = await asyncio.to_thread(model.prompts.read, request)
        _check_context(request, prompts, model.context_length)
        inbox = Inbox()
        sequences = [self._sequences(model, request, prompt, at, inbox) for at, prompt in enumerate(prompts)]
        everyone = [sequence for group in sequences for sequence in group]
        total = sum(map(len, prompts))
        try:
            echoes = await self._echo(model, request, prompts)
            for prompt, group in zip(prompts, sequences, strict=True):
                model.batch.submit(prompt, group)
            events = await inbox.take()
            yield [Started(total), *echoes, *events]
            left = len(everyone) - _ended(events)
            while left:
                events = await inbox.take()
                left -= _ended(events)
                yield events
            yield [TokenCount(total, sum(len(sequence.made) for sequence in everyone))]
        finally:
            model.batch.cancel(everyone)

    async def embed(self, request: EmbeddingRequest) -> Embedded:
        """Vectors, made between two steps of the batch. Raises BadRequest for `dimensions`, ContextLengthExceeded."""
        from penstock.compute.engines._transformers.reading import vectors

        model = self._serving(request.model)
        inputs = await asyncio.to_thread(model.prompts.texts, request.inputs)
        size = int(model.model.config.get_text_config().hidden_size)
        if request.dimensions is not None and request.dimensions > size:
            raise BadRequest(f"'dimensions' must not exceed {size}, the size of this model's vectors.", param="dimensions")
        if max(map(len, inputs)) > model.context_length:
            raise ContextLengthExceeded(f"This model reads {model.context_length} tokens at most.", param="input")
        made = await asyncio.wrap_future(model.batch.call(lambda: vectors(model.model, inputs, request.dimensions)))
        return Embedded(tuple(made), sum(map(len, inputs)))

    # --- one request ---------------------------------------------------------------------------------------------------

    def _sequences(
        self, model: "Loaded", request: GenerationRequest, prompt: list[int], at: int, inbox: "Inbox"
    ) -> "list[GeneratedSequence]":
        """The choices of one prompt."""
        from penstock.compute.engines._transformers.sampling import Sampler
        from penstock.compute.engines._transformers.sequences import GeneratedSequence
        from penstock.compute.engines._transformers.speech import Characters, Speech

        chat = isinstance(request.prompts[at], Conversation)
        tools = bool(request.tools) and request.tool_choice.mode != "none"
        room = model.context_length - len(prompt)
        sequences = []
        for choice in range(at * request.choices, (at + 1) * request.choices):
            characters = Characters(model.decode, () if chat else prompt)
            several = request.parallel_tool_calls is not False
            sequences.append(
                GeneratedSequence(
                    prompt=prompt,
                    limit=min(request.max_tokens or room, room),
                    ends=frozenset() if request.ignore_eos else model.sampling_defaults.ends,
                    sampler=Sampler(request, choice, model.sampling_defaults, model.model.device),
                    speech=Speech(choice, characters, request.stop, self._new_call_id if tools else None, several),
                    inbox=inbox,
                    text_of=lambda token: model.decode_all([token]),
                    top_logprobs=request.top_logprobs,
                )
            )
        return sequences

    async def _echo(self, model: "Loaded", request: GenerationRequest, prompts: list[list[int]]) -> list[Event]:
        """The prompt again, token by token, as the legacy completions have it."""
        from penstock.compute.engines._transformers.reading import prompt_logprobs
        from penstock.compute.engines._transformers.speech import Characters

        if not request.echo:
            return []
        events: list[Event] = []
        for at, ids in enumerate(prompts):
            characters = Characters(model.decode)
            texts = [characters.push(token) for token in ids]
            texts[-1] += characters.rest()
            known: list[Any] = [None] * len(ids)
            if (top := request.top_logprobs) is not None:
                read = _reader(prompt_logprobs, model, ids, texts, top)
                known = await asyncio.wrap_future(model.batch.call(read))
            for choice in range(at * request.choices, (at + 1) * request.choices):
                events += [Token(choice, text, logprob) for text, logprob in zip(texts, known, strict=True)]
        return events

    def _serving(self, name: str) -> "Loaded":
        if name != self._model.name:
            raise ModelNotFound(f"The model '{name}' does not exist on this worker.", param="model")
        return self._model

    # --- start ---------------------------------------------------------------------------------------------------------

    def _load(self) -> "Loaded":
        _check_folder(self._options["model"])  # before torch, which takes seconds to import
        try:
            import torch

            from penstock.compute.engines._transformers.model import load
        except ImportError as error:
            raise EngineUnavailable(f"{_NEEDS} ({error})") from None
        if "threads" in self._options:
            torch.set_num_threads(options_.whole(self._options, "threads", 1))
        return load(self._options, _ProgressLog(self._options["model"]))

    @property
    def _model(self) -> "Loaded":
        assert self._loaded is not None, "the engine is not open"
        return self._loaded

    def _new_id(self) -> str:
        return f"{self._process}{next(self._numbers):012x}"

    def _new_call_id(self) -> str:
        return f"call_{self._new_id()}"


class _ProgressLog:
    """Writes progress to the log, a line now and then."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._reported: dict[str, float] = {}

    def __call__(self, doing: str, share: float) -> None:
        if share >= self._reported.get(doing, 0.0) + _REPORT_EVERY or (share >= 1 > self._reported.get(doing, 0.0)):
            self._reported[doing] = share
            _log.info(doing, model=self._model, percent=round(share * 100))


def _check_folder(model: str) -> None:
    """Raises EngineUnavailable for what can only be a folder and is none."""
    looks_like_one = model.startswith(("/", "./", "../", "~")) or model.count("/") > 1
    if looks_like_one and not Path(model).expanduser().is_dir():
        raise EngineUnavailable(f"there is no model at {model}: that folder does not exist")


def _ended(events: Sequence[Event]) -> int:
    return sum(isinstance(event, Finished) for event in events)


def _reader(read: Callable[..., Any], model: "Loaded", ids: list[int], texts: list[str], top: int) -> Callable[[], Any]:
    return lambda: read(model.model, ids, texts, top, lambda token: model.decode_all([token]))


def _check_context(request: GenerationRequest, prompts: Sequence[Sequence[int]], context: int) -> None:
    param = "messages" if request.operation is Operation.CHAT else "prompt"
    prompt, completion = max(map(len, prompts)), request.max_tokens or 1
    if prompt + completion > context:
        raise ContextLengthExceeded(
            f"This model's maximum context length is {context} tokens. However, you requested {prompt + completion} tokens "
            f"({prompt} in the {param}, {completion} in the completion).",
            param=param,
        )


async def _in_thread(work: "Callable[[], Loaded]") -> "Loaded":
    """In a thread that does not hold up the end of the process: a model that is being fetched is not waited for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Loaded] = loop.create_future()

    def settle(result: "Loaded | None", error: Exception | None) -> None:
        if not future.cancelled():
            if error is not None:
                future.set_exception(error)
            elif result is not None:
                future.set_result(result)

    def run() -> None:
        result, problem = None, None
        try:
            result = work()
        except Exception as error:  # the waiting caller gets it
            problem = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, problem)

    threading.Thread(target=run, name="loading", daemon=True).start()
    return await future


MEMBER: EngineFactory = TransformersEngine
