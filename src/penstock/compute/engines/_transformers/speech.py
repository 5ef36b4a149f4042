"""Tokens to text as a client may see it: whole characters only, nothing of a stop text, tool calls as calls.

`Speech` of one choice takes tokens one by one and gives events; what might still become a stop text or a call is held back.
"""

import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from penstock.domain.ports.engine import Event, Finished, FinishReason, Token, TokenLogprob, ToolCallArguments, ToolCallStarted

Decode = Callable[[Sequence[int]], str]
CALL, CALL_END = "<tool_call>", "</tool_call>"
"""How Hermes, Qwen and many that learned from them write a call: JSON between these."""
_TORN = "\N{REPLACEMENT CHARACTER}"


class Characters:
    """Token ids to text, piece by piece; a character whose bytes are spread over several tokens comes with the last of them."""

    def __init__(self, decode: Decode, before: Sequence[int] = ()) -> None:
        self._decode = decode
        self._ids = list(before[-4:])
        self._from = 0
        self._emitted = len(self._ids)

    def push(self, token: int) -> str:
        self._ids.append(token)
        known, text = self._pieces()
        if len(text) <= len(known) or text.endswith(_TORN):
            return ""
        self._from, self._emitted = self._emitted, len(self._ids)
        return text[len(known) :]

    def rest(self) -> str:
        """What never became whole."""
        known, text = self._pieces()
        self._emitted = len(self._ids)
        return text[len(known) :]

    def _pieces(self) -> tuple[str, str]:
        # Decoded together with the piece before: whether a word begins with a space depends on it.
        return self._decode(self._ids[self._from : self._emitted]), self._decode(self._ids[self._from :])


@dataclass(frozen=True, slots=True)
class _Piece:
    text: str
    logprob: TokenLogprob | None


class _Stops:
    """Holds back what may be the beginning of a stop text."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held: deque[_Piece] = deque()
        self.stopped = False

    def push(self, piece: _Piece) -> list[_Piece]:
        """Pieces that are safe to show now. After `stopped` there are none."""
        if not self._stops:
            return [piece]
        self._held.append(piece)
        text = "".join(held.text for held in self._held)
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._release(min(found)[1], cut=True)
        return self._release(len(text) - max(_overlap(text, stop) for stop in self._stops), cut=False)

    def rest(self) -> list[_Piece]:
        rest = [] if self.stopped else list(self._held)
        self._held.clear()
        return rest

    def _release(self, length: int, *, cut: bool) -> list[_Piece]:
        """Whole pieces within the first `length` characters; with `cut` also the part of the one that goes beyond."""
        shown: list[_Piece] = []
        while self._held and len(self._held[0].text) <= length:
            piece = self._held.popleft()
            length -= len(piece.text)
            shown.append(piece)
        if cut and length and self._held:
            shown.append(_Piece(self._held[0].text[:length], self._held[0].logprob))
        return shown


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of the text could begin the stop text."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)


class _Calls:
    """Tool calls out of the text."""

    def __init__(self, choice: int, several: bool, new_id: Callable[[], str]) -> None:
        self._choice = choice
        self._several = several
        self._new_id = new_id
        self._text = ""
        self.made = 0

    def push(self, piece: _Piece) -> list[Event]:
        self._text += piece.text
        events: list[Event] = []
        while True:
            begin = self._text.find(CALL)
            if begin < 0:
                return [*events, *self._plain(len(self._text) - _overlap(self._text, CALL), piece)]
            events += self._plain(begin, piece)
            end = self._text.find(CALL_END)
            if end < 0:
                return events
            events += self._call(self._text[len(CALL) : end])
            self._text = self._text[end + len(CALL_END) :]

    def rest(self) -> list[Event]:
        """A call that was not finished is text."""
        return self._plain(len(self._text), _Piece("", None))

    def _plain(self, length: int, piece: _Piece) -> list[Event]:
        text, self._text = self._text[:length], self._text[length:]
        if not text or (self.made and not text.strip()):
            return []
        return [Token(self._choice, text, piece.logprob)]

    def _call(self, text: str) -> list[Event]:
        try:
            call = json.loads(text)
            name, arguments = call["name"], call.get("arguments", call.get("parameters")) or {}
        except (ValueError, LookupError, TypeError, AttributeError):
            return [Token(self._choice, f"{CALL}{text}{CALL_END}")]
        if self.made and not self._several:
            return []
        index, self.made = self.made, self.made + 1
        written = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        return [ToolCallStarted(self._choice, index, self._new_id(), str(name)), ToolCallArguments(self._choice, index, written)]


class Speech:
    """One choice's events. `new_id` makes ids of tool calls; None: the request has no tools."""

    def __init__(
        self,
        choice: int,
        characters: Characters,
        stops: Sequence[str] = (),
        new_id: Callable[[], str] | None = None,
        several_calls: bool = True,
    ) -> None:
        self._choice = choice
        self._characters = characters
        self._stops = _Stops(stops)
        self._calls = None if new_id is None else _Calls(choice, several_calls, new_id)

    @property
    def stopped(self) -> bool:
        return self._stops.stopped

    def token(self, token: int, logprob: Callable[[str], TokenLogprob] | None = None) -> list[Event]:
        """What one token more shows; `logprob` is told the text under which it appears."""
        text = self._characters.push(token)
        if not text and logprob is None:
            return []
        return self._show(self._stops.push(_Piece(text, None if logprob is None else logprob(text))))

    def end(self, reason: FinishReason) -> list[Event]:
        """What was held back, and the end."""
        events: list[Event] = []
        if not self.stopped and (rest := self._characters.rest()):
            events += self._show(self._stops.push(_Piece(rest, None)))
        events += self._show(self._stops.rest())
        if self._calls is not None:
            events += self._calls.rest()
        if self.stopped:
            reason = "stop"
        called = self._calls is not None and self._calls.made and reason == "stop"
        return [*events, Finished(self._choice, "tool_calls" if called else reason)]

    def _show(self, pieces: Sequence[_Piece]) -> list[Event]:
        if self._calls is None:
            return [Token(self._choice, piece.text, piece.logprob) for piece in pieces]
        return [event for piece in pieces for event in self._calls.push(piece)]
