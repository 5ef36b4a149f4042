"""A chunk that comes again: most chunks of a stream are the same bytes, but for the piece of text in the middle.

One of them is decoded and edited as ever. Those that only bring another piece of text need neither: where a string's content is replaced by
another one that may stand there, JSON stays the JSON it was. Everything else is decoded as ever.
"""

import re
from typing import Final

from penstock.wire.chat.chunks import Chunk

_TEXT: Final = re.compile(rb'[^"\\\x00-\x1f]*(?:\\["\\/bfnrt][^"\\\x00-\x1f]*)*')
"""What may stand in a JSON string; no \\u, as half of a pair of them is nothing."""
_CONTENT, _LEGACY = b'"content":', b'"text":'


class KnownChunk:
    """What stands before and after the text of one chunk of a stream, as it came and as it goes out."""

    __slots__ = ("_after", "_after_edited", "_before", "_before_edited", "_between", "_between_edited", "_key")

    def __init__(self, key: bytes, before: bytes, after: bytes, before_edited: bytes, after_edited: bytes) -> None:
        """`before` ends with `key`, under which the text stands."""
        self._key = key
        self._before = before
        self._after = after
        self._between = after + before[: -len(key)]
        """From a text to the next key."""
        self._before_edited = before_edited
        self._after_edited = after_edited
        self._between_edited = after_edited + before_edited

    def leading(self, text: bytes) -> int:
        """How many bytes of some events begin with this one again and again, at most; whether they are alike, `relayed` says."""
        if text[: len(self._before)] != self._before:
            return 0
        return text.find(b"\n\n", text.rfind(self._before)) + 2

    def relayed(self, events: bytes) -> tuple[bytes, int, int] | None:
        """The events as they go out, how many, and the bytes of their text; None: not all of them are alike."""
        after, between = self._after, self._between
        first, last, step = len(self._before), len(events) - len(after), len(between)
        if last <= first or events[last:] != after:
            return None
        # At the key, not at all that is between: a search compares byte by byte, a comparison many at a time.
        parts = events[first:last].split(self._key)
        number = len(parts)
        if number == 1:
            texts, together = parts, parts[0]
        else:
            texts = []
            for part in parts[:-1]:
                end = len(part) - step
                if end <= 0 or part[end:] != between:
                    return None
                texts.append(part[:end])
            texts.append(parts[-1])
            # A blank between them, so that what is whole only together is not taken for whole.
            together = b" ".join(texts)
        if not parts[-1] or _TEXT.fullmatch(together) is None:
            return None
        size = len(together) - number + 1
        if together.find(b"\\") >= 0:
            # Of an escape, two bytes stand for one.
            size -= together.count(b"\\") - together.count(b"\\\\")
        if not together.isascii():
            try:
                together.decode()
            except UnicodeDecodeError:
                return None
        return self._before_edited + self._between_edited.join(texts) + self._after_edited, number, size


def learned(event: bytes, chunk: Chunk, edited: bytes) -> KnownChunk | None:
    """From an event, what it says, and how it goes out, each with its blank line; None for one that is more than a piece of text."""
    if chunk.usage is not None or chunk.error is not None or len(chunk.choices) != 1:
        return None
    choice = chunk.choices[0]
    delta = choice.delta
    key, piece = (_LEGACY, choice.text) if delta is None else (_CONTENT, delta.content)
    if choice.finish_reason is not None or not isinstance(piece, str):
        return None
    if delta is not None and (
        choice.text
        or delta.tool_calls
        or delta.reasoning_content
        or delta.reasoning
        or delta.thinking
        or delta.refusal
        or delta.function_call
    ):
        return None
    begin, begin_edited = _text_begins(event, key), _text_begins(edited, key)
    text = piece.encode("utf-8", "surrogatepass")
    end, end_edited = begin + len(text), begin_edited + len(text)
    # The text as it is, in its quotes: what had been escaped differs.
    if not text or not begin or not begin_edited or _TEXT.fullmatch(text) is None or b"\\" in text:
        return None
    if event[begin : end + 1] != text + b'"' or edited[begin_edited : end_edited + 1] != text + b'"':
        return None
    return KnownChunk(event[event.find(key) : begin], event[:begin], event[end:], edited[:begin_edited], edited[end_edited:])


def _text_begins(event: bytes, key: bytes) -> int:
    """Where the only string under this key begins; 0 when there is not one."""
    at = event.find(key)
    if at < 0 or event.find(key, at + 1) >= 0:
        return 0
    begin = at + len(key)
    if event[begin : begin + 1] == b" ":
        begin += 1
    return begin + 1 if event[begin : begin + 1] == b'"' else 0
