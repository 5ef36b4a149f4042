"""What an engine is asked and what it answers, in types: no HTTP, no JSON.

An engine that makes tokens itself (the simulator, a library in this process) implements `Generator`; `wire/chat/generation_replies.py`
turns its events into OpenAI's JSON and event stream. An engine whose server speaks OpenAI already implements `Engine` alone and relays
bytes. The worker's HTTP layer sees `Engine` only.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from penstock.domain.inference import Operation
from penstock.domain.tokens import TokenCount
from penstock.domain.workers import ModelOffer, WorkerLoad

# --- asked ---------------------------------------------------------------------------------------------------------


class ToolCall(msgspec.Struct, frozen=True):
    """A call that the assistant made earlier in the conversation. `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True):
    role: str
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    """The call that a message of the role `tool` answers."""


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call; `parameters` is a JSON Schema."""

    name: str
    parameters: Mapping[str, Any]
    description: str = ""


class ToolChoice(msgspec.Struct, frozen=True):
    """`named` goes with a `name`; the other modes leave the choice to the model."""

    mode: Literal["auto", "none", "required", "named"] = "auto"
    name: str = ""


class Conversation(msgspec.Struct, frozen=True):
    messages: tuple[Message, ...]


Prompt = Conversation | str | tuple[int, ...]
"""A conversation (chat), a text or token ids (legacy completions)."""


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Text from one prompt or several. Choice number = index of the prompt x `choices` + index of the choice."""

    operation: Operation
    model: str
    prompts: tuple[Prompt, ...]
    choices: int = 1
    max_tokens: int | None = None
    """For each choice; None: as many as the model likes, up to its context."""
    stop: tuple[str, ...] = ()
    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = {}
    top_logprobs: int | None = None
    """None: no log probabilities wanted; 0: only those of the chosen tokens."""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool | None = None
    """None: nothing was said, which OpenAI reads as yes."""
    json_schema: Mapping[str, Any] | None = None
    """The answer must be JSON of this schema (`json_object`: any object)."""
    reasoning_effort: str = ""
    """How much a model that can think is to think: OpenAI's words, `none` among them; empty: nothing was said."""
    echo: bool = False
    ignore_eos: bool = False
    """Go on to `max_tokens` past the model's own end (vLLM's field; load tests use it)."""
    stream: bool = False
    include_usage: bool = False


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    base64: bool = False


# --- answered ------------------------------------------------------------------------------------------------------


class Started(msgspec.Struct, frozen=True, gc=False):
    """The first event: the prompt is read, the first token comes with it or next."""

    prompt_tokens: int | None
    """None: the engine tells at the end only."""
    cached_tokens: int = 0


class TokenLogprob(msgspec.Struct, frozen=True):
    """`top` holds the likeliest tokens at this place, most likely first."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class Token(msgspec.Struct, frozen=True):
    choice: int
    text: str
    logprob: TokenLogprob | None = None


class Thought(msgspec.Struct, frozen=True, gc=False):
    """A piece of reasoning, before the answer."""

    choice: int
    text: str


class ToolCallStarted(msgspec.Struct, frozen=True, gc=False):
    choice: int
    index: int
    id: str
    name: str


class ToolCallArguments(msgspec.Struct, frozen=True, gc=False):
    """A piece of the JSON text of a call's arguments."""

    choice: int
    index: int
    text: str


FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class Finished(msgspec.Struct, frozen=True, gc=False):
    choice: int
    reason: FinishReason


Event = Started | Token | Thought | ToolCallStarted | ToolCallArguments | Finished | TokenCount
"""`Started` first, a `Finished` for each choice, the whole request's `TokenCount` last."""


class Embedded(msgspec.Struct, frozen=True):
    """One vector for each input: little-endian 32-bit floats, the form in which both encodings are equal."""

    vectors: tuple[bytes, ...]
    prompt_tokens: int


class Generator(Protocol):
    """Makes the tokens itself. Both calls raise the domain's errors before anything is made."""

    def generate(self, request: GenerationRequest) -> AsyncGenerator[Sequence[Event], None]:
        """Yields what became ready together, so that it is written together. Closing the generator stops the work."""
        ...

    async def embed(self, request: EmbeddingRequest) -> Embedded: ...


# --- the engine as a worker holds it -------------------------------------------------------------------------------


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer. The holder of a streamed body must close it: that ends the generation behind it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes | AsyncGenerator[bytes, None]


class Engine(Protocol):
    """What a worker runs. A member of the family `compute.engines` makes one (`EngineFactory`)."""

    @property
    def slots(self) -> int:
        """Requests that it can serve well at the same time; the default of `--slots`."""
        ...

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def models(self) -> tuple[ModelOffer, ...]: ...

    def load(self) -> WorkerLoad:
        """The last known load, without asking anyone."""
        ...

    async def answer(self, operation: Operation, body: bytes) -> Answer:
        """Answers an OpenAI request body. Raises the domain's errors while no byte of the answer exists."""
        ...


class EngineFactory(Protocol):
    """`MEMBER` of the family `compute.engines`."""

    def __call__(self, options: Mapping[str, str], /) -> Engine:
        """Not yet open. Raises ValueError with a sentence for the operator when an option is wrong."""
        ...


@runtime_checkable
class MayBeAway(Protocol):
    """An engine whose server is another process, which may end while the worker goes on."""

    @property
    def is_away(self) -> bool:
        """Its server does not answer: nothing new for this worker until it does."""
        ...


@runtime_checkable
class KeepsLog(Protocol):
    """An engine whose server has a log of its own."""

    def keep_log(self, folder: Path) -> None:
        """Before `open`: where the log goes unless the engine's options say otherwise."""
        ...

    def log_tail(self, lines: int) -> list[str]:
        """The last lines, oldest first."""
        ...
