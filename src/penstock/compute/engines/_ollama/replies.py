"""What Ollama's native API answers, as the domain's events and errors; pure. Durations come in nanoseconds."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from penstock.domain.errors import (
    BadRequest,
    ContextLengthExceeded,
    ModelNotFound,
    Overloaded,
    PenstockError,
    UnsupportedParameter,
    UpstreamFailed,
)
from penstock.domain.ports.engine import Event, Finished, Thought, Token, TokenLogprob, ToolCallArguments, ToolCallStarted
from penstock.domain.tokens import TokenCount

NANOSECONDS = 1e9


class CalledFunction(msgspec.Struct):
    name: str
    arguments: dict[str, Any] = {}


class ToolCallPart(msgspec.Struct):
    function: CalledFunction


class ReplyPart(msgspec.Struct):
    content: str = ""
    thinking: str = ""
    tool_calls: list[ToolCallPart] | None = None


class Likely(msgspec.Struct):
    token: str
    logprob: float


class Logprob(Likely):
    top_logprobs: list[Likely] | None = None


class Piece(msgspec.Struct):
    """A line of `/api/chat` (`message`) or `/api/generate` (`response`)."""

    message: ReplyPart = msgspec.field(default_factory=ReplyPart)
    response: str = ""
    done: bool = False
    done_reason: str = ""
    logprobs: list[Logprob] | None = None
    prompt_eval_count: int | None = None
    """Absent when the whole prompt was remembered."""
    eval_count: int | None = None
    load_duration: int = 0
    prompt_eval_duration: int = 0
    error: str | None = None


_piece = msgspec.json.Decoder(Piece)


class _OllamaError(msgspec.Struct):
    error: str = ""


def read(line: bytes) -> Piece:
    """Raises UpstreamFailed for what is not a line of Ollama's, the error itself for one that says an error."""
    try:
        piece = _piece.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamFailed("The engine sent something that is not its protocol.") from None
    if piece.error is not None:
        raise error_of(500, piece.error)
    return piece


def error_of(status: int, message: str) -> PenstockError:
    """What an answer that is not 200 means for the caller. Ollama's messages name models and limits, never hosts."""
    lowered = message.lower()
    if status == 404:
        return ModelNotFound(message or "The engine does not have this model.", param="model")
    if "context length" in lowered or "context size" in lowered or "context window" in lowered:
        return ContextLengthExceeded(message, param="messages")
    if "does not support" in lowered:
        param = "tools" if "tool" in lowered else None
        return UnsupportedParameter(message, param=param)
    if status == 400:
        return BadRequest(message or "The engine refused the request.")
    if status in {429, 503}:
        return Overloaded("The engine has no room for another request.", retry_after_seconds=1.0)
    return UpstreamFailed("The engine failed.")


def error_of_body(status: int, body: bytes) -> PenstockError:
    try:
        return error_of(status, msgspec.json.decode(body, type=_OllamaError).error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return error_of(status, "")


class OllamaReplyReader:
    """One choice as its lines come in."""

    def __init__(self, choice: int, call_id: Callable[[], str]) -> None:
        self.choice = choice
        self._call_id = call_id
        self._calls = 0
        self._texts = 0
        self._thoughts = 0
        self.count: TokenCount | None = None
        """Set by the last line."""
        self.ttft_seconds: float | None = None
        """Loading and reading the prompt, as the server measured it."""

    def events(self, piece: Piece) -> Sequence[Event]:
        """What one line of the stream means. A line with several log probabilities becomes one event for each token."""
        found: list[Event] = []
        if piece.message.thinking:
            found.append(Thought(self.choice, piece.message.thinking))
            self._thoughts += 1
        text = piece.message.content or piece.response
        logprobs = [] if piece.message.thinking else [_logprob(one) for one in piece.logprobs or ()]
        if len(logprobs) == 1 or (logprobs and text == "".join(one.token for one in logprobs)):
            found += [Token(self.choice, one.token if len(logprobs) > 1 else text, one) for one in logprobs]
        elif text:
            found.append(Token(self.choice, text))
        self._texts += len(found)
        for call in piece.message.tool_calls or ():
            found.append(ToolCallStarted(self.choice, self._calls, self._call_id(), call.function.name))
            found.append(ToolCallArguments(self.choice, self._calls, msgspec.json.encode(call.function.arguments).decode()))
            self._calls += 1
        if piece.done:
            found.append(self._end(piece))
        return found

    def _end(self, piece: Piece) -> Finished:
        counted = piece.prompt_eval_count is not None and piece.eval_count is not None
        completion = self._texts if piece.eval_count is None else piece.eval_count
        thoughts = min(self._thoughts, completion)  # one token a line
        self.count = TokenCount(piece.prompt_eval_count or 0, completion, reasoning=thoughts, estimated=not counted)
        self.ttft_seconds = (piece.load_duration + piece.prompt_eval_duration) / NANOSECONDS
        if piece.done_reason == "length":
            return Finished(self.choice, "length")
        return Finished(self.choice, "tool_calls" if self._calls else "stop")


def _logprob(one: Logprob) -> TokenLogprob:
    return TokenLogprob(one.token, one.logprob, tuple((each.token, each.logprob) for each in one.top_logprobs or ()))


class Embeddings(msgspec.Struct):
    embeddings: list[list[float]]
    prompt_eval_count: int = 0


class Shown(msgspec.Struct):
    """`/api/show`: what a model can do, and how long its context is (under a key that its architecture begins)."""

    capabilities: list[str] = []
    model_info: dict[str, Any] = {}

    @property
    def context_length(self) -> int | None:
        return next((value for key, value in self.model_info.items() if key.endswith(".context_length") and isinstance(value, int)), None)


class _Tag(msgspec.Struct):
    name: str


class Tags(msgspec.Struct):
    models: list[_Tag] = []


class Version(msgspec.Struct):
    version: str = ""

    def at_least(self, *wanted: int) -> bool:
        """A development build (0.0.0) counts as the newest."""
        parts = [int(part) for part in self.version.split("-")[0].split(".") if part.isdigit()]
        return not any(parts) or parts >= list(wanted)


class PullProgress(msgspec.Struct):
    """A line of `/api/pull`."""

    status: str = ""
    digest: str = ""
    total: int = 0
    completed: int = 0
    error: str | None = None
