"""Text generation on Triton's LLM back ends (vLLM's, TensorRT-LLM's ensemble): which tensor means what; pure.

Both take `text_input` and give `text_output`; vLLM's wants the rest as JSON in `sampling_parameters`, TensorRT-LLM's has a tensor for each.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from penstock.domain.errors import UnsupportedParameter
from penstock.domain.ports.engine import Conversation, Event, Finished, GenerationRequest, Prompt, Token
from penstock.domain.tokens import TokenCount
from penstock.wire.tensors import TensorSpec

TEXT_IN, TEXT_OUT = "text_input", "text_output"
_SAMPLING = "sampling_parameters"
_FLAT_NAMES = {"seed": "random_seed", "stop": "stop_words"}
"""What TensorRT-LLM calls them; everything else has OpenAI's name."""
_SWITCHES = ("stream", "exclude_input_in_output", "return_finish_reason", "return_num_input_tokens", "return_num_output_tokens")
"""Inputs that are set where a model has them."""

Fields = dict[str, Any]


class ModelInfo(msgspec.Struct, frozen=True):
    """A model as the server describes it."""

    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    decoupled: bool = False
    """It may answer in several pieces, which Triton carries in its generate calls only."""

    @property
    def makes_text(self) -> bool:
        return any(one.name == TEXT_IN for one in self.inputs) and any(one.name == TEXT_OUT for one in self.outputs)


def fields(request: GenerationRequest, prompt: Prompt, info: ModelInfo) -> Fields:
    """Input tensors by name, as the generate extension takes them. Raises UnsupportedParameter for what the model has no input for."""
    _check(request)
    if isinstance(prompt, Conversation):
        raise UnsupportedParameter("This model completes text and has no chat template: use /v1/completions.", param="messages")
    if not isinstance(prompt, str):
        raise UnsupportedParameter("This model reads text, not token ids.", param="prompt")
    names = {one.name for one in info.inputs}
    asked = _sampling(request)
    if _SAMPLING in names:
        rest: Fields = {_SAMPLING: msgspec.json.encode(asked).decode()}
    else:
        rest = {_FLAT_NAMES.get(name, name): value for name, value in asked.items()}
        for name, theirs in ((name, _FLAT_NAMES.get(name, name)) for name in asked):
            if theirs not in names:
                raise UnsupportedParameter(f"This model does not support '{name}'.", param=name)
    return {TEXT_IN: prompt, **rest, **{name: True for name in _SWITCHES if name in names}}


def _check(request: GenerationRequest) -> None:
    lacking = {
        "n": request.choices > 1,
        "logprobs": request.top_logprobs is not None,
        "logit_bias": bool(request.logit_bias),
        "tools": bool(request.tools) and request.tool_choice.mode != "none",
        "response_format": request.json_schema is not None,
    }
    for name, asked in lacking.items():
        if asked:
            raise UnsupportedParameter(f"Triton's generate API does not support '{name}'.", param=name)


def _sampling(request: GenerationRequest) -> Fields:
    found = {
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "presence_penalty": request.presence_penalty or None,
        "frequency_penalty": request.frequency_penalty or None,
        "stop": list(request.stop) or None,
        "ignore_eos": request.ignore_eos or None,
    }
    return {name: value for name, value in found.items() if value is not None}


class TritonReplyReader:
    """One choice as its pieces come in: each the output tensors of a response, by name."""

    def __init__(self, choice: int, max_tokens: int | None) -> None:
        self.choice = choice
        self._max_tokens = max_tokens
        self._pieces = 0
        self._reason = ""
        self._prompt: int | None = None
        self._completion: int | None = None

    def events(self, piece: Mapping[str, Any]) -> Sequence[Event]:
        if (reason := _text(piece.get("finish_reason"))) and reason != "None":
            self._reason = reason
        if (count := _number(piece.get("num_input_tokens"))) is not None:
            self._prompt = count
        if (count := _number(piece.get("num_output_tokens"))) is not None:
            self._completion = (self._completion or 0) + count
        text = _text(piece.get(TEXT_OUT))
        if not text:
            return ()
        self._pieces += 1
        return (Token(self.choice, text),)

    def end(self) -> Finished:
        """`length` when the model says so, or says nothing and made all that it might."""
        made = self._pieces if self._completion is None else self._completion
        if self._reason == "length" or (not self._reason and self._max_tokens is not None and made >= self._max_tokens):
            return Finished(self.choice, "length")
        return Finished(self.choice, "stop")

    @property
    def count(self) -> TokenCount:
        """The model's own numbers, or one token for each piece, marked as estimated."""
        counted = self._prompt is not None and self._completion is not None
        return TokenCount(self._prompt or 0, self._pieces if self._completion is None else self._completion, estimated=not counted)


def _text(value: Any) -> str:
    """A tensor of one text may come as itself or in a list."""
    while isinstance(value, list | tuple):
        value = value[0] if value else ""
    return value if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    while isinstance(value, list | tuple):
        value = value[0] if value else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
