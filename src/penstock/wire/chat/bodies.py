"""The bodies of requests as types: what the gateway must understand of them, with the limits that OpenAI sets.

Types alone: what is done with them is in `wire/chat/requests.py`, which is compiled: a compiled module would lose what msgspec must know.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Tier = Literal["auto", "default", "flex", "priority", "fast", "scale"]
Probability = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
TokenLimit = Annotated[int, Meta(ge=1, le=10_000_000)]
Stop = str | Annotated[list[str], Meta(max_length=4)] | None
Metadata = Annotated[dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)]


class StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


class RequestBody(msgspec.Struct, gc=False):
    """What the three calls have in common."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    user: str | None = None
    service_tier: Tier | UnsetType | None = UNSET


class SamplingBody(RequestBody, gc=False):
    """What the two calls that make text have in common."""

    stream: bool | None = None
    stream_options: StreamOptions | UnsetType | None = UNSET
    max_tokens: TokenLimit | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    stop: Stop = None
    seed: int | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None


class ChatMessage(msgspec.Struct, gc=False):
    role: str
    content: msgspec.Raw = msgspec.Raw()


class ContentPart(msgspec.Struct, gc=False):
    """A part of a message's content, as far as it may have inline data."""

    type: str = ""
    image_url: msgspec.Raw = msgspec.Raw()
    video_url: msgspec.Raw = msgspec.Raw()
    audio_url: msgspec.Raw = msgspec.Raw()
    input_audio: msgspec.Raw = msgspec.Raw()
    file: msgspec.Raw = msgspec.Raw()


class ChatBody(SamplingBody, gc=False):
    messages: Annotated[list[ChatMessage], Meta(min_length=1)] = msgspec.field(default_factory=list)
    max_completion_tokens: TokenLimit | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: Annotated[list[msgspec.Raw], Meta(max_length=128)] | None = None
    parallel_tool_calls: bool | None = None
    metadata: Metadata | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    store: bool | None = None


Prompt = str | list[str | int | list[int]]


class CompletionBody(SamplingBody, gc=False):
    prompt: msgspec.Raw = msgspec.Raw()
    best_of: Annotated[int, Meta(ge=1, le=20)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    suffix: str | None = None


class EmbeddingBody(RequestBody, gc=False):
    input: msgspec.Raw = msgspec.Raw()
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=65536)] | None = None


class TensorsBody(RequestBody, gc=False):
    """What the tensors are is the worker's business, which knows the model's own."""

    inputs: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=64)] = msgspec.field(default_factory=list)


AnyBody = ChatBody | CompletionBody | EmbeddingBody | TensorsBody
