"""What Ollama's native API is asked for a request: bodies of `/api/chat`, `/api/generate` and `/api/embed`; pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from penstock.domain.errors import UnsupportedParameter
from penstock.domain.ports.engine import Conversation, EmbeddingRequest, GenerationRequest, Message, Prompt

Body = dict[str, Any]


def check(request: GenerationRequest, *, logprobs: bool) -> None:
    """Raises UnsupportedParameter for what the native API has no word for. `logprobs`: this version of the server has them."""
    lacking = {
        "n": request.choices > 1,
        "logit_bias": bool(request.logit_bias),
        "tool_choice": request.tool_choice.mode in {"required", "named"},
        "logprobs": request.top_logprobs is not None and not logprobs,
        "ignore_eos": request.ignore_eos,
    }
    for name, asked in lacking.items():
        if asked:
            raise UnsupportedParameter(f"Ollama does not support '{name}'.", param=name)


def generation(request: GenerationRequest, prompt: Prompt, fixed: Mapping[str, Any], *, context: int | None) -> tuple[str, Body]:
    """Path and body for one prompt. `fixed`: fields that the operator set; `context`: `num_ctx`, None leaves it to the server.

    Raises UnsupportedParameter for a prompt of token ids.
    """
    body: Body = {
        "model": request.model,
        "stream": True,
        "options": _options(request, context),
        # A prompt that does not fit is an error, not something to be shortened without a word.
        "truncate": False,
        "shift": False,
        **fixed,
    }
    if request.top_logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if request.json_schema is not None:
        body["format"] = request.json_schema
    if isinstance(prompt, Conversation):
        return "/api/chat", body | _chat(request, prompt)
    if not isinstance(prompt, str):
        raise UnsupportedParameter("Ollama reads text, not token ids.", param="prompt")
    # A legacy completion goes on where the text ends, so no template is put around it.
    return "/api/generate", body | {"prompt": prompt, "raw": True}


def embedding(request: EmbeddingRequest, fixed: Mapping[str, Any]) -> Body:
    """The body for `/api/embed`. Raises UnsupportedParameter for an input of token ids."""
    if not all(isinstance(one, str) for one in request.inputs):
        raise UnsupportedParameter("Ollama reads text, not token ids.", param="input")
    body: Body = {"model": request.model, "input": list(request.inputs), "truncate": False, **fixed}
    return body if request.dimensions is None else body | {"dimensions": request.dimensions}


def _options(request: GenerationRequest, context: int | None) -> Body:
    options = {
        "num_ctx": context,
        "num_predict": request.max_tokens,
        "seed": request.seed,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "presence_penalty": request.presence_penalty or None,
        "frequency_penalty": request.frequency_penalty or None,
        "stop": list(request.stop) or None,
    }
    return {name: value for name, value in options.items() if value is not None}


def _chat(request: GenerationRequest, conversation: Conversation) -> Body:
    names = {call.id: call.name for message in conversation.messages for call in message.tool_calls}
    chat: Body = {"messages": [_message(message, names) for message in conversation.messages]}
    if request.tools and request.tool_choice.mode != "none":
        chat["tools"] = [
            {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters}}
            for tool in request.tools
        ]
    return chat


def _message(message: Message, names: Mapping[str, str]) -> Body:
    """Ollama knows a call by the tool's name where OpenAI has an id, and wants arguments as an object."""
    body: Body = {"role": "system" if message.role == "developer" else message.role, "content": message.text}
    if message.tool_calls:
        body["tool_calls"] = [{"function": {"name": call.name, "arguments": _arguments(call.arguments)}} for call in message.tool_calls]
    if message.tool_call_id is not None:
        body["tool_name"] = names.get(message.tool_call_id, message.tool_call_id)
    return body


def _arguments(text: str) -> object:
    try:
        return msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        raise UnsupportedParameter("Ollama needs the arguments of a tool call as JSON.", param="messages") from None
