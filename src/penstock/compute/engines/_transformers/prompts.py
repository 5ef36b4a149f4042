"""Requests to token ids, with the model's own chat template and tokenizer."""

import json
from collections.abc import Sequence
from threading import Lock
from typing import Any

from jinja2 import TemplateError

from penstock.compute.engines._transformers.speech import CALL
from penstock.domain.errors import BadRequest, UnsupportedParameter
from penstock.domain.ports.engine import Conversation, GenerationRequest, Message, Prompt


class Prompts:
    """Safe to call from several threads."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._lock = Lock()  # a tokenizer changes while it reads
        self._template = _template(tokenizer)

    @property
    def chats(self) -> bool:
        return bool(self._template)

    @property
    def calls_tools(self) -> bool:
        """The template shows tools to the model, which then writes its calls in the form that we read."""
        return "tools" in self._template and CALL in self._template

    def read(self, request: GenerationRequest) -> list[list[int]]:
        """Token ids of each prompt. Raises BadRequest and UnsupportedParameter."""
        self._check(request)
        with self._lock:
            found = [self._ids(prompt, request) for prompt in request.prompts]
        param = "messages" if isinstance(request.prompts[0], Conversation) else "prompt"
        if not all(found):
            raise BadRequest(f"'{param}' holds nothing that this model can read.", param=param)
        return found

    def texts(self, inputs: Sequence[str | tuple[int, ...]]) -> list[list[int]]:
        """Token ids of inputs to embed."""
        with self._lock:
            return [self._plain(one, "input") for one in inputs]

    def _check(self, request: GenerationRequest) -> None:
        if request.json_schema is not None:
            raise UnsupportedParameter("This engine cannot hold an answer to a JSON form.", param="response_format")
        if request.tool_choice.mode in {"required", "named"}:
            raise UnsupportedParameter("This engine leaves it to the model whether it calls a tool.", param="tool_choice")
        if request.tools and request.tool_choice.mode != "none" and not self.calls_tools:
            raise UnsupportedParameter("This model's chat template knows no tools.", param="tools")
        if any(not 0 <= token < self._vocabulary for token in request.logit_bias):
            raise BadRequest(f"'logit_bias' names a token that is not among this model's {self._vocabulary}.", param="logit_bias")

    def _ids(self, prompt: Prompt, request: GenerationRequest) -> list[int]:
        if not isinstance(prompt, Conversation):
            return self._plain(prompt, "prompt")
        if not self.chats:
            raise BadRequest("This model has no chat template: it can only continue texts (/v1/completions).", param="messages")
        tools = [_tool(request, at) for at in range(len(request.tools))] if request.tool_choice.mode != "none" else []
        messages = [self._message(message) for message in prompt.messages]
        try:
            text = self._tokenizer.apply_chat_template(messages, tools=tools or None, add_generation_prompt=True, tokenize=False)
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise BadRequest(f"This model's chat template does not take these messages: {error}", param="messages") from None
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _plain(self, given: str | tuple[int, ...], param: str) -> list[int]:
        if isinstance(given, str):
            return list(self._tokenizer.encode(given))
        if any(not 0 <= token < self._vocabulary for token in given):
            raise BadRequest(f"'{param}' names a token that is not among this model's {self._vocabulary}.", param=param)
        return list(given)

    def _message(self, message: Message) -> dict[str, Any]:
        known: dict[str, Any] = {"role": message.role, "content": message.text}
        if message.role == "developer" and "developer" not in self._template:
            known["role"] = "system"
        if message.tool_calls:
            known["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _arguments(call.arguments)}}
                for call in message.tool_calls
            ]
        if message.tool_call_id is not None:
            known["tool_call_id"] = message.tool_call_id
        return known


def _template(tokenizer: Any) -> str:
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, dict):
        template = template.get("tool_use") or template.get("default")
    return template or ""


def _tool(request: GenerationRequest, at: int) -> dict[str, Any]:
    tool = request.tools[at]
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def _arguments(text: str) -> Any:
    """Templates expect an object; what is none stays the text that it was."""
    try:
        return json.loads(text)
    except ValueError:
        return text
