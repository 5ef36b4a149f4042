"""What a model thought, under one name: `reasoning_content`, whatever the server calls it.

Servers say `reasoning` (vLLM, OpenRouter), `thinking` (Ollama), parts of the content (Mistral), or put it into the text between `<think>`
and `</think>`. Only for upstreams whose operator asks for it: every event is decoded and written again.
"""

from typing import Any, Final

import msgspec

_NAMES: Final = ("reasoning_content", "reasoning", "thinking")
_OPENINGS: Final = ("<think>", "<thinking>")
_CLOSINGS: Final = {"<think>": "</think>", "<thinking>": "</thinking>"}
_BEGIN, _OPENED, _INSIDE, _BEHIND, _PLAIN = range(5)
"""Where in a text: nothing but white space has come; right behind the tag; in the thoughts; right behind them; in the answer."""


class ThoughtSplitter:
    """Divides a text that comes in pieces into thoughts and answer. Only a tag at the very beginning counts: others are text."""

    __slots__ = ("_closing", "_held", "_state")

    def __init__(self) -> None:
        self._state = _BEGIN
        self._held = ""
        """The end of what has come, which may be the beginning of a tag."""
        self._closing = ""

    def feed(self, piece: str) -> tuple[str, str]:
        """The thoughts and the answer that are certain now."""
        text, self._held, thought = self._held + piece, "", ""
        if self._state == _BEGIN:
            begun = text.lstrip()
            opening = next((tag for tag in _OPENINGS if begun.startswith(tag)), "")
            if opening:
                self._state, self._closing, text = _OPENED, _CLOSINGS[opening], begun[len(opening) :]
            elif not begun or any(tag.startswith(begun) for tag in _OPENINGS):
                self._held = text
                return "", ""
            else:
                self._state = _PLAIN
        if self._state == _OPENED:
            text = text.lstrip("\n")
            self._state = _INSIDE if text else _OPENED
        if self._state == _INSIDE:
            thought, found, text = text.partition(self._closing)
            if found:
                self._state = _BEHIND
            else:
                thought = self._hold_back(thought)
        if self._state == _BEHIND:
            text = text.lstrip()
            if text:
                self._state = _PLAIN
        return thought, text

    def end(self) -> tuple[str, str]:
        """What was held back: no more will come."""
        held, self._held = self._held, ""
        return (held, "") if self._state == _INSIDE else ("", held)

    def _hold_back(self, thought: str) -> str:
        for size in range(min(len(self._closing) - 1, len(thought)), 0, -1):
            if self._closing.startswith(thought[-size:]):
                self._held = thought[-size:]
                return thought[:-size]
        return thought


class ReasoningStream:
    """Rewrites the events of one stream."""

    __slots__ = ("_splitters",)

    def __init__(self) -> None:
        self._splitters: dict[object, ThoughtSplitter] = {}

    def rewritten(self, event: bytes) -> bytes:
        """The JSON of a chunk with its reasoning under one name; what is not a chunk stays as it is."""
        chunk = msgspec.json.decode(event)
        choices = chunk.get("choices") if isinstance(chunk, dict) else None
        if not isinstance(choices, list):
            return event
        for choice in choices:
            if isinstance(choice, dict) and isinstance(choice.get("delta"), dict):
                self._rewrite(choice)
        return msgspec.json.encode(chunk)

    def _rewrite(self, choice: dict[str, Any]) -> None:
        delta, index = choice["delta"], str(choice.get("index", 0))
        splitter = self._splitters.get(index)
        if splitter is None:
            splitter = self._splitters[index] = ThoughtSplitter()
        _gather(delta)
        content = delta.get("content")
        thought, answer = splitter.feed(content) if isinstance(content, str) and content else ("", content)
        if choice.get("finish_reason"):
            more_thought, more_answer = splitter.end()
            thought, answer = thought + more_thought, (answer or "") + more_answer if more_answer else answer
        _put(delta, thought, answer)


def normalised_reply(body: bytes) -> bytes:
    """A whole reply with the reasoning of each choice under one name; what is not a chat completion stays as it is."""
    try:
        reply = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list):
        return body
    for choice in choices:
        message = choice.get("message") if isinstance(choice, dict) else None
        if isinstance(message, dict):
            _gather(message)
            content = message.get("content")
            if isinstance(content, str):
                _put(message, *_divided(content))
    return msgspec.json.encode(reply)


def _divided(content: str) -> tuple[str, str]:
    """Thoughts and answer. Of a whole text the end of the thoughts is enough: some templates write their beginning into the prompt."""
    before, found, behind = content.partition("</think>")
    if found and not any(tag in before for tag in _OPENINGS):
        return before.strip("\n"), behind.lstrip()
    splitter = ThoughtSplitter()
    thought, answer = splitter.feed(content)
    more_thought, more_answer = splitter.end()
    return thought + more_thought, answer + more_answer


def _gather(message: dict[str, Any]) -> None:
    """Reasoning in a field or a part of its own goes under the one name; the same text under two names counts once."""
    found = next((message[name] for name in _NAMES if isinstance(message.get(name), str) and message[name]), "")
    for name in _NAMES[1:]:
        message.pop(name, None)
    content = message.get("content")
    if isinstance(content, list):
        thoughts = [part for part in content if isinstance(part, dict) and part.get("type") in ("thinking", "reasoning")]
        rest = [part for part in content if not any(part is each for each in thoughts)]
        found += "".join(_text(part.get("thinking") or part.get("text") or part.get("reasoning")) for part in thoughts)
        is_text = all(isinstance(part, dict) and part.get("type") == "text" for part in rest)
        message["content"] = "".join(_text(part.get("text")) for part in rest) if is_text else rest
    if found:
        message["reasoning_content"] = found


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""


def _put(message: dict[str, Any], thought: str, answer: Any) -> None:
    if thought:
        message["reasoning_content"] = (message.get("reasoning_content") or "") + thought
    if "content" in message or answer:
        message["content"] = answer
