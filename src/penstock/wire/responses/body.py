"""A request body of the Responses API as a chat completion that asks for the same.

What chat completions cannot say is refused by name, never dropped: hosted tools, prompt templates, conversations, truncation.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from penstock.domain.errors import BadRequest, InvalidJson, UnsupportedParameter
from penstock.wire.chat.bodies import Metadata, Probability, Tier, TokenLimit
from penstock.wire.chat.requests import deeper_than
from penstock.wire.responses import items
from penstock.wire.responses.items import Json

LOGPROBS = "message.output_text.logprobs"
_INCLUDED = frozenset({LOGPROBS, "reasoning.encrypted_content"})
"""The second adds nothing: no reasoning is encrypted here, and none has to be, as its text is in the answer."""
Summary = Literal["auto", "concise", "detailed"]


class Reasoning(msgspec.Struct, forbid_unknown_fields=True):
    effort: str | None = None
    summary: Summary | None = None
    """Without effect: reasoning is shown as its engine tells it."""
    generate_summary: Summary | None = None
    context: Literal["auto"] | None = None


class TextFormat(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: Json | None = None
    strict: bool | None = None
    description: str | None = None


class Text(msgspec.Struct, forbid_unknown_fields=True):
    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class FunctionTool(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["function"]
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    parameters: Json | None = None
    strict: bool | None = None
    description: str | None = None


class ResponseNamedTool(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["function"]
    name: str


class AllowedTools(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[ResponseNamedTool]


class ResponseStreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    include_obfuscation: Literal[False] | None = None


class ResponseBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields that must be null are those that OpenAI has and we do not."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    input: Any = None
    instructions: str | None = None
    background: bool | None = None
    client_metadata: dict[str, Any] | None = None
    """What a program says of itself; without effect."""
    include: list[str] | None = None
    max_output_tokens: TokenLimit | None = None
    metadata: Metadata | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    prompt_cache_key: str | None = None
    reasoning: Reasoning | None = None
    safety_identifier: str | None = None
    service_tier: Tier | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    text: Text | None = None
    tool_choice: str | Json | None = None
    tools: Annotated[list[Json], Meta(max_length=128)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    top_p: Probability | None = None
    truncation: Literal["disabled"] | None = None
    user: str | None = None
    access_programs: None = None
    context_management: None = None
    conversation: None = None
    image: None = None
    max_tool_calls: None = None
    moderation: None = None
    prompt: None = None
    prompt_cache_options: None = None
    prompt_cache_retention: None = None

    @property
    def is_kept(self) -> bool:
        return self.store is not False


_decoder = msgspec.json.Decoder(ResponseBody)


def decode(body: bytes, max_depth: int = 64) -> ResponseBody:
    """Raises InvalidJson, BadRequest, UnsupportedParameter; the last two name the field."""
    if deeper_than(body, max_depth):
        raise InvalidJson(f"The JSON in the request body is nested deeper than {max_depth} levels.")
    try:
        request = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _refused(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidJson("The request body is not valid JSON.") from None
    _check(request)
    return request


def _refused(sentence: str) -> BadRequest:
    error = items.located(sentence, "")
    if error.param in ("truncation", "stream_options.include_obfuscation"):
        return UnsupportedParameter(f"'{error.param}' supports nothing but its default here.", param=error.param)
    return error


def _check(request: ResponseBody) -> None:
    if request.input is None:
        raise BadRequest("'input' is a required property.", param="input")
    unknown = [name for name in request.include or () if name not in _INCLUDED]
    if unknown:
        raise UnsupportedParameter(f"Only these can be included here: {', '.join(sorted(_INCLUDED))}.", param="include")
    if request.background and not request.is_kept:
        raise BadRequest("An answer in the background must be stored: 'background' needs 'store'.", param="background")
    if request.background and request.stream:
        raise UnsupportedParameter("An answer in the background cannot be streamed here: ask for it by its id.", param="stream")
    if request.stream_options is not None and not request.stream:
        raise BadRequest("'stream_options' needs 'stream'.", param="stream_options")


def chat_body(request: ResponseBody, own: Sequence[Json], before: Sequence[Json] = ()) -> bytes:
    """The chat completion: `before` are the items of the answers that this one continues, `own` its input.

    Raises BadRequest when there is no message.
    """
    tools, choice = _tools(request)
    chat_messages = items.messages([*before, *own])
    if request.instructions:
        chat_messages.insert(0, {"role": "system", "content": request.instructions})
    if not chat_messages:
        raise BadRequest("'input' must not be empty.", param="input")
    with_logprobs = request.top_logprobs is not None or LOGPROBS in (request.include or ())
    text, reasoning = request.text or Text(), request.reasoning or Reasoning()
    body: Json = {
        "model": request.model,
        "messages": chat_messages,
        "max_tokens": request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "tools": tools,
        "tool_choice": choice,
        "parallel_tool_calls": request.parallel_tool_calls if tools else None,
        "response_format": _response_format(text.format),
        "verbosity": text.verbosity,
        "reasoning_effort": reasoning.effort,
        "logprobs": True if with_logprobs else None,
        "top_logprobs": request.top_logprobs,
        "service_tier": request.service_tier,
        "user": request.user,
        "safety_identifier": request.safety_identifier,
        "prompt_cache_key": request.prompt_cache_key,
        "stream": True if request.stream else None,
        "stream_options": {"include_usage": True} if request.stream else None,
    }
    return msgspec.json.encode({name: value for name, value in body.items() if value is not None})


def _response_format(wanted: TextFormat | None) -> Json | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {"type": "json_object"}
    if wanted.name is None or wanted.schema is None:
        missing = "name" if wanted.name is None else "schema"
        raise BadRequest(f"'text.format.{missing}' is a required property.", param=f"text.format.{missing}")
    schema = {"name": wanted.name, "schema": wanted.schema, "strict": wanted.strict, "description": wanted.description}
    return {"type": "json_schema", "json_schema": {name: value for name, value in schema.items() if value is not None}}


def _tools(request: ResponseBody) -> tuple[list[Json] | None, str | Json | None]:
    """Chat's `tools` and `tool_choice`. Of allowed tools the others are left out, which is all that a model can see of it."""
    tools = [_tool(tool, f"tools[{at}]") for at, tool in enumerate(request.tools or ())]
    choice = request.tool_choice
    if not tools:
        if choice not in (None, "none", "auto"):
            raise BadRequest("'tool_choice' is only allowed when 'tools' are given.", param="tool_choice")
        return None, None
    if choice is None or isinstance(choice, str):
        if choice not in (None, "none", "auto", "required"):
            raise BadRequest("'tool_choice' must be none, auto, required or an object.", param="tool_choice")
        return [_chat_tool(tool) for tool in tools], choice
    names = {tool.name for tool in tools}
    match choice.get("type"):
        case "function":
            named = items.typed(choice, ResponseNamedTool, "tool_choice")
            _require(names, named.name)
            return [_chat_tool(tool) for tool in tools], {"type": "function", "function": {"name": named.name}}
        case "allowed_tools":
            allowed = items.typed(choice, AllowedTools, "tool_choice")
            for tool in allowed.tools:
                _require(names, tool.name)
            kept = {tool.name for tool in allowed.tools}
            return [_chat_tool(tool) for tool in tools if tool.name in kept], allowed.mode
    raise UnsupportedParameter("A choice of this type is not supported here: 'tool_choice.type'.", param="tool_choice.type")


def _require(names: set[str], name: str) -> None:
    if name not in names:
        raise BadRequest(f"'tool_choice' names '{name[:64]}', which is not among 'tools'.", param="tool_choice")


def _tool(value: Json, where: str) -> FunctionTool:
    if value.get("type") != "function":
        raise UnsupportedParameter(f"Only function tools are supported here: '{where}.type'.", param=f"{where}.type")
    return items.typed(value, FunctionTool, where)


def _chat_tool(tool: FunctionTool) -> Json:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
    return {"type": "function", "function": {name: value for name, value in function.items() if value is not None}}


def skeleton(request: ResponseBody, response_id: str, created_at: float) -> Json:
    """The Response object before there is an answer: what was asked for, with OpenAI's defaults where nothing was said."""
    text = request.text or Text()
    wanted = text.format or TextFormat("text")
    reasoning = request.reasoning or Reasoning()
    return {
        "id": response_id,
        "object": "response",
        "created_at": int(created_at),
        "completed_at": None,
        "status": "queued" if request.background else "in_progress",
        "background": bool(request.background),
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": None,
        "metadata": request.metadata or {},
        "model": request.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "prompt_cache_key": request.prompt_cache_key,
        "reasoning": {"effort": reasoning.effort, "summary": reasoning.summary or reasoning.generate_summary},
        "safety_identifier": request.safety_identifier,
        "service_tier": request.service_tier or "auto",
        "store": request.is_kept,
        "temperature": request.temperature,
        "text": {"format": _shown_format(wanted), **({"verbosity": text.verbosity} if text.verbosity else {})},
        "tool_choice": request.tool_choice or "auto",
        "tools": [_shown_tool(tool) for tool in request.tools or ()],
        "top_logprobs": request.top_logprobs or 0,
        "top_p": request.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": request.user,
    }


def _shown_format(wanted: TextFormat) -> Json:
    if wanted.type != "json_schema":
        return {"type": wanted.type}
    fields = {"type": wanted.type, "name": wanted.name, "schema": wanted.schema, "strict": bool(wanted.strict)}
    return fields | ({"description": wanted.description} if wanted.description else {})


def _shown_tool(tool: Json) -> Json:
    return {"type": "function", "description": None, "parameters": None, "strict": None, **tool}
