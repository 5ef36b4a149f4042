"""`sim`: real text at a real pace from a GPU that is not there. For trying Penstock, for tests and for load without hardware.

Options: `speed` (how many times as fast as the model's own figures; `inf`: instant), `models` or `model` (names, comma-separated: each
behaves as the known model of that name, or as sim-small), `slots`, `max_batch`, `kv_tokens`, `context_length`,
`prefill_tokens_per_second`, `step_seconds`, `step_seconds_per_sequence`.
"""

import asyncio
import itertools
import os
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from penstock.compute.engines import _options as options_
from penstock.domain.clock import Clock, SystemClock
from penstock.domain.errors import BadRequest, ContextLengthExceeded, ModelNotFound
from penstock.domain.inference import Operation
from penstock.domain.ports.engine import Answer, Embedded, EmbeddingRequest, EngineFactory, Event, Finished, GenerationRequest, Started
from penstock.domain.tokens import TokenCount
from penstock.domain.workers import ModelOffer, WorkerLoad
from penstock.simulation import embedding, tokens
from penstock.simulation.replica import SimulatedReplica, Speed
from penstock.simulation.script import Script, write
from penstock.wire.chat import generation_replies as answers

CAPABILITIES = ("chat", "completions", "embeddings", "tools", "json_schema", "logprobs")
EARLY_SECONDS = 0.0005
"""How much too early a step may be told: what is due within it shares one wake-up. Timers are no more exact than this."""
SHORTEST_SLEEP_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class SimModel:
    speed: Speed
    context_length: int


MODELS = {
    "sim-small": SimModel(Speed(), context_length=32_768),
    "sim-large": SimModel(
        Speed(prefill_tokens_per_second=5_000, step_seconds=0.03, step_seconds_per_sequence=0.0005, kv_tokens=262_144, max_batch=32),
        context_length=131_072,
    ),
}

OPTIONS = frozenset(
    {
        *("speed", "model", "models", "slots", "max_batch", "kv_tokens", "context_length"),
        *("prefill_tokens_per_second", "step_seconds", "step_seconds_per_sequence"),
    }
)


class SimEngine:
    """One simulated GPU for each model. Implements both `Engine` and `Generator`."""

    def __init__(self, options: options_.Options, clock: Clock | None = None) -> None:
        options_.check_names("sim", options, OPTIONS)
        self.slots = options_.whole(options, "slots", 64)
        self._clock: Clock = clock or SystemClock()
        self._models = _configured(options)
        self._gpus: dict[str, _Gpu] = {}
        self._ids = itertools.count(1)
        self._process = os.urandom(6).hex()

    async def open(self) -> None:
        self._gpus = {name: _Gpu(model.speed, self._clock) for name, model in self._models.items()}

    async def close(self) -> None:
        for gpu in self._gpus.values():
            gpu.close()

    async def models(self) -> tuple[ModelOffer, ...]:
        return tuple(
            ModelOffer(name, context_length=model.context_length, capabilities=CAPABILITIES) for name, model in self._models.items()
        )

    def load(self) -> WorkerLoad:
        replicas = [gpu.replica for gpu in self._gpus.values()]
        return WorkerLoad(
            running=sum(one.running for one in replicas),
            waiting=sum(one.waiting for one in replicas),
            kv_usage=max((one.kv_usage for one in replicas), default=0.0),
        )

    async def answer(self, operation: Operation, body: bytes) -> Answer:
        answer_id = f"{self._process}{next(self._ids):012x}"
        return await answers.answer(self, operation, body, answer_id, int(self._clock.time()))

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Sequence[Event], None]:
        """Write the scripts of all choices first, then tell them at the pace of the simulated GPU. Raises as `Generator` does."""
        gpu, model = self._serving(request.model)
        prompts = tokens.count_prompts(request)
        scripts = write(request, _room(request, max(prompts), model.context_length))
        inbox = _Inbox()
        lines = [_Choice(script, inbox) for script in scripts]
        try:
            for at, line in enumerate(lines):
                # The choices of one prompt share what was read of it: the first of them pays.
                prompt, choice = divmod(at, request.choices)
                gpu.submit(line, 0 if choice else prompts[prompt], len(line.script.steps))
            echoes = [event for script in scripts for event in script.echo]
            yield [Started(sum(prompts)), *echoes, *await inbox.take()]
            while any(line.left for line in lines):
                yield await inbox.take()
            yield [TokenCount(sum(prompts), sum(len(script.steps) for script in scripts))]
        finally:
            for line in lines:
                gpu.cancel(line)

    async def embed(self, request: EmbeddingRequest) -> Embedded:
        """Vectors after the time that the simulated GPU needs to read. Raises BadRequest, ContextLengthExceeded."""
        gpu, model = self._serving(request.model)
        dimensions = request.dimensions or embedding.DIMENSIONS
        if dimensions > embedding.MOST_DIMENSIONS:
            raise BadRequest(f"'dimensions' must not exceed {embedding.MOST_DIMENSIONS}.", param="dimensions")
        counts = [tokens.count_prompt(one) for one in request.inputs]
        for count in counts:
            _check_context(count, 0, model.context_length, "input")
        await self._read(gpu, counts)
        return Embedded(tuple(embedding.embed(one, dimensions) for one in request.inputs), sum(counts))

    async def _read(self, gpu: "_Gpu", counts: Sequence[int]) -> None:
        inbox = _Inbox()
        lines = [_Choice(Script((), (), Finished(0, "stop")), inbox) for _ in counts]
        try:
            for line, count in zip(lines, counts, strict=True):
                gpu.submit(line, count, 0)
            while any(line.left for line in lines):
                await inbox.take()
        finally:
            for line in lines:
                gpu.cancel(line)

    def _serving(self, name: str) -> "tuple[_Gpu, SimModel]":
        if name not in self._gpus:
            raise ModelNotFound(f"The model '{name}' does not exist on this worker.", param="model")
        return self._gpus[name], self._models[name]


def _configured(options: options_.Options) -> dict[str, SimModel]:
    wanted = options.get("models") or options.get("model") or ",".join(MODELS)
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    return {name: _overridden(MODELS.get(name, MODELS["sim-small"]), options) for name in names}


def _overridden(model: SimModel, options: options_.Options) -> SimModel:
    context = options_.whole(options, "context_length", model.context_length)
    speed = replace(
        model.speed,
        prefill_tokens_per_second=options_.number(options, "prefill_tokens_per_second", model.speed.prefill_tokens_per_second),
        step_seconds=options_.number(options, "step_seconds", model.speed.step_seconds),
        step_seconds_per_sequence=options_.number(options, "step_seconds_per_sequence", model.speed.step_seconds_per_sequence),
        kv_tokens=max(context, options_.whole(options, "kv_tokens", model.speed.kv_tokens)),
        max_batch=options_.whole(options, "max_batch", model.speed.max_batch),
    )
    return SimModel(speed.times(options_.number(options, "speed", 1.0)), context)


def _room(request: GenerationRequest, longest_prompt: int, context: int) -> int:
    """Tokens that each choice may make. Raises ContextLengthExceeded."""
    param = "messages" if request.operation is Operation.CHAT else "prompt"
    _check_context(longest_prompt, request.max_tokens or 1, context, param)
    return context - longest_prompt


def _check_context(prompt: int, completion: int, context: int, param: str) -> None:
    if prompt + completion > context:
        raise ContextLengthExceeded(
            f"This model's maximum context length is {context} tokens. However, you requested {prompt + completion} tokens "
            f"({prompt} in the {param}, {completion} in the completion).",
            param=param,
        )


# --- pace ----------------------------------------------------------------------------------------------------------


class _Inbox:
    """Where the tokens of one request arrive; its reader wakes once for all that one wake-up of the GPU brought."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._waiter: asyncio.Future[None] | None = None
        self._news = False

    def put(self, events: Sequence[Event]) -> None:
        self._events.extend(events)
        self._news = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self) -> list[Event]:
        """What came since the last call; waits for something. Empty when only hidden tokens (of a stop text) were made."""
        if not self._news:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self._news = False
        events, self._events = self._events, []
        return events


class _Choice:
    """One choice on its way through a GPU."""

    __slots__ = ("_inbox", "_reported", "left", "script")

    def __init__(self, script: Script, inbox: _Inbox) -> None:
        self.script = script
        self.left = True
        self._inbox = inbox
        self._reported = 0

    def advance(self, made: int) -> None:
        steps = self.script.steps
        news = [event for event in steps[self._reported : self._reported + made] if event is not None]
        self._reported += made
        if self._reported >= len(steps):
            self.left = False
            news.append(self.script.end)
        self._inbox.put(news)


class _Gpu:
    """Runs a replica on the machine's clock with a single timer, however many sequences there are."""

    def __init__(self, speed: Speed, clock: Clock) -> None:
        self.replica: SimulatedReplica[_Choice] = SimulatedReplica(speed)
        self._clock = clock
        self._timer: asyncio.Handle | None = None

    def submit(self, line: _Choice, prompt_tokens: int, output_tokens: int) -> None:
        self.replica.submit(line, prompt_tokens, output_tokens, self._clock.monotonic())
        self._schedule()

    def cancel(self, line: _Choice) -> None:
        self.replica.cancel(line)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        due = self.replica.next_event()
        if self._timer is not None or due is None:
            return
        loop = asyncio.get_running_loop()
        delay = due - self._clock.monotonic()
        if delay <= EARLY_SECONDS:
            self._timer = loop.call_soon(self._wake)
        else:
            self._timer = loop.call_later(max(delay, SHORTEST_SLEEP_SECONDS), self._wake)

    def _wake(self) -> None:
        self._timer = None
        for line, made in self.replica.advance(self._clock.monotonic() + EARLY_SECONDS).items():
            line.advance(made)
        self._schedule()


MEMBER: EngineFactory = SimEngine
