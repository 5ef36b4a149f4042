"""OpenAI request bodies to what an engine is asked: every field that an engine must obey, in its type, or a 400 that names it.

The gateway's view of the same bodies (`requests.py`) reads less and passes the rest through; this one reads all.
"""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from penstock.domain.errors import BadRequest, InvalidJson, UnsupportedParameter
from penstock.domain.inference import Operation
from penstock.domain.ports import engine as g
from penstock.wire.chat.bodies import RequestBody, SamplingBody, StreamOptions, TokenLimit
from penstock.wire.chat.requests import explained

Body = TypeVar("Body")

MOST_TEXTS = 2048
"""Prompts or inputs in one request, as OpenAI has it."""

# --- the bodies, as clients write them -----------------------------------------------------------------------------


class TextPart(msgspec.Struct):
    type: str
    text: str | None = None


class FunctionText(msgspec.Struct):
    name: str
    arguments: str


class CallBody(msgspec.Struct):
    id: str
    function: FunctionText
    type: Literal["function"] = "function"


class MessageBody(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[CallBody] | None = None
    tool_call_id: str | None = None


class FunctionBody(msgspec.Struct):
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolBody(msgspec.Struct):
    type: Literal["function"]
    function: FunctionBody


class FunctionName(msgspec.Struct):
    name: str


class NamedTool(msgspec.Struct):
    function: FunctionName
    type: Literal["function"] = "function"


class SchemaBody(msgspec.Struct):
    name: str
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class FormatBody(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaBody | None = None


class EngineSamplingBody(SamplingBody):
    ignore_eos: bool | None = None


class ChatCall(EngineSamplingBody):
    messages: Annotated[list[MessageBody], Meta(min_length=1)] = msgspec.field(default_factory=list)
    max_completion_tokens: TokenLimit | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: Annotated[list[ToolBody], Meta(max_length=128)] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: FormatBody | None = None
    reasoning_effort: str | None = None


class CompletionCall(EngineSamplingBody):
    prompt: str | list[str | int | list[int]] | UnsetType = UNSET
    best_of: Annotated[int, Meta(ge=1, le=20)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    suffix: str | None = None


class EmbeddingCall(RequestBody):
    input: str | list[str | int | list[int]] | UnsetType = UNSET
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=65536)] | None = None


_chat = msgspec.json.Decoder(ChatCall)
_completion = msgspec.json.Decoder(CompletionCall)
_embedding = msgspec.json.Decoder(EmbeddingCall)

# --- and what they mean --------------------------------------------------------------------------------------------


def generation_request(operation: Operation, body: bytes) -> g.GenerationRequest:
    """A chat or legacy completion body. Raises InvalidJson, BadRequest or UnsupportedParameter with `param`."""
    if operation is Operation.CHAT:
        return _chat_request(_decode(_chat, body))
    return _completion_request(_decode(_completion, body))


def embedding_request(body: bytes) -> g.EmbeddingRequest:
    """An embeddings body. Raises InvalidJson, BadRequest with `param`."""
    call = _decode(_embedding, body)
    inputs = _texts_or_tokens(call.input, "input")
    if not inputs or any(len(one) == 0 for one in inputs):
        raise BadRequest("'input' must not be empty.", param="input")
    return g.EmbeddingRequest(model=call.model, inputs=inputs, dimensions=call.dimensions, base64=call.encoding_format == "base64")


def _decode(decoder: msgspec.json.Decoder[Body], body: bytes) -> Body:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidJson("The request body is not valid JSON.") from None


def _chat_request(call: ChatCall) -> g.GenerationRequest:
    if not call.messages:
        raise BadRequest("'messages' is a required property: a non-empty array.", param="messages")
    tools = tuple(_tool(one) for one in call.tools or ())
    limit = call.max_tokens if call.max_completion_tokens is None else call.max_completion_tokens
    return _request(
        call,
        Operation.CHAT,
        prompts=(g.Conversation(tuple(_message(one, at) for at, one in enumerate(call.messages))),),
        max_tokens=limit,
        top_logprobs=_top_logprobs(call),
        tools=tools,
        tool_choice=_tool_choice(call, tools),
        parallel_tool_calls=call.parallel_tool_calls,
        json_schema=_schema(call.response_format),
        reasoning_effort=call.reasoning_effort or "",
    )


def _completion_request(call: CompletionCall) -> g.GenerationRequest:
    if call.suffix:
        raise UnsupportedParameter("This engine cannot insert text before a suffix.", param="suffix")
    prompts = _texts_or_tokens(call.prompt, "prompt")
    if not prompts:
        raise BadRequest("'prompt' must not be an empty array.", param="prompt")
    if (call.best_of or 1) > (call.n or 1):
        raise UnsupportedParameter("This engine does not rank choices: 'best_of' must not exceed 'n'.", param="best_of")
    return _request(
        call,
        Operation.COMPLETION,
        prompts=prompts,
        max_tokens=call.max_tokens,
        top_logprobs=call.logprobs,
        echo=bool(call.echo),
    )


def _request(call: EngineSamplingBody, operation: Operation, **fields: Any) -> g.GenerationRequest:
    return g.GenerationRequest(
        operation=operation,
        model=call.model,
        choices=call.n or 1,
        stop=_stop(call),
        seed=call.seed,
        temperature=call.temperature,
        top_p=call.top_p,
        presence_penalty=call.presence_penalty or 0.0,
        frequency_penalty=call.frequency_penalty or 0.0,
        logit_bias=_logit_bias(call.logit_bias),
        ignore_eos=bool(call.ignore_eos),
        stream=bool(call.stream),
        include_usage=isinstance(call.stream_options, StreamOptions) and bool(call.stream_options.include_usage),
        **fields,
    )


def _stop(call: EngineSamplingBody) -> tuple[str, ...]:
    if not call.stop:
        return ()
    stops = (call.stop,) if isinstance(call.stop, str) else tuple(call.stop)
    if not all(stops):
        raise BadRequest("'stop' must not hold an empty string.", param="stop")
    return stops


def _logit_bias(bias: dict[str, float] | None) -> dict[int, float]:
    try:
        return {int(token): weight for token, weight in (bias or {}).items()}
    except ValueError:
        raise BadRequest("'logit_bias' must map token ids to numbers.", param="logit_bias") from None


def _message(body: MessageBody, at: int) -> g.Message:
    calls = tuple(g.ToolCall(one.id, one.function.name, one.function.arguments) for one in body.tool_calls or ())
    text = body.content if isinstance(body.content, str) else "".join(_part(part, at) for part in body.content or ())
    return g.Message(role=body.role, text=text, tool_calls=calls, tool_call_id=body.tool_call_id)


def _part(part: TextPart, at: int) -> str:
    if part.type in {"text", "refusal"} and part.text is not None:
        return part.text
    raise UnsupportedParameter(f"This engine reads text only, not '{part.type}'.", param=f"messages[{at}].content")


def _tool(body: ToolBody) -> g.Tool:
    function = body.function
    return g.Tool(function.name, function.parameters or {"type": "object", "properties": {}}, function.description or "")


def _tool_choice(call: ChatCall, tools: tuple[g.Tool, ...]) -> g.ToolChoice:
    choice = call.tool_choice
    if choice is None:
        return g.ToolChoice("auto")
    if not tools and choice != "none":
        raise BadRequest("'tool_choice' is only allowed when 'tools' are given.", param="tool_choice")
    if isinstance(choice, NamedTool):
        if choice.function.name not in {tool.name for tool in tools}:
            raise BadRequest(f"'tool_choice' names '{choice.function.name}', which is not among 'tools'.", param="tool_choice")
        return g.ToolChoice("named", choice.function.name)
    return g.ToolChoice(choice)


def _schema(body: FormatBody | None) -> dict[str, Any] | None:
    if body is None or body.type == "text":
        return None
    if body.type == "json_object":
        return {"type": "object"}
    if body.json_schema is None or body.json_schema.schema is None:
        raise BadRequest("'response_format.json_schema.schema' is a required property.", param="response_format")
    return body.json_schema.schema


def _top_logprobs(call: ChatCall) -> int | None:
    if call.logprobs:
        return call.top_logprobs or 0
    if call.top_logprobs is not None:
        raise BadRequest("'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs")
    return None


def _texts_or_tokens(value: str | list[str | int | list[int]] | UnsetType, param: str) -> tuple[str | tuple[int, ...], ...]:
    """A text, texts, token ids or arrays of token ids: always a tuple of texts and token tuples."""
    if value is UNSET:
        raise BadRequest(f"'{param}' is a required property.", param=param)
    if isinstance(value, str):
        return (value,)
    if value and all(isinstance(one, int) for one in value):
        return (tuple(one for one in value if isinstance(one, int)),)
    if any(isinstance(one, int) for one in value):
        raise BadRequest(f"'{param}' must be a string, an array of strings, or an array of tokens.", param=param)
    if len(value) > MOST_TEXTS:
        raise BadRequest(f"'{param}' must not hold more than {MOST_TEXTS} texts.", param=param)
    return tuple(one if isinstance(one, str) else tuple(one) for one in value if not isinstance(one, int))
