"""How many tokens an answer has: the engine's report where it can be true, otherwise our estimate from what was relayed.

Whole answers and streams are counted by the same functions. The bounds are wide: they find reports that cannot be, not inexact ones.
"""

from typing import Any, Final

import msgspec

from penstock.domain.tokens import Doubt, TokenCount, UsageReport
from penstock.wire.chat.bodies import AnyBody, CompletionBody
from penstock.wire.chat.requests import BYTES_PER_TOKEN

_LEAST_BYTES: Final = 16
"""Of text to a token on average, at most: a report of fewer tokens than this gives is too low."""
_SPARE_BYTES: Final = 64
_LEAST_CHUNKS: Final = 8
"""Pieces of text to a token, at most: some servers cut their text into characters."""
_HIDDEN_TOKENS: Final = 4096
"""That an engine may make without showing them, whatever its speed."""
_TOLD_REASONING: Final = 65_536
"""The same, when it says that they are reasoning."""
_FASTEST: Final = 10_000.0
"""Tokens a second that one request makes, at most."""
_UNSEEN_PROMPT: Final = 131_072
"""Tokens that an engine may add to a prompt: its template, and what URLs and file ids refer to."""
_LONGEST_PROMPT: Final = 16
"""Times our estimate of the prompt."""
NO_LIMIT: Final = -1
"""The client did not say how many tokens it wants at most."""
_TEXTS: Final = frozenset({"text", "content", "thinking", "summary", "arguments", "name", "input", "transcript"})
_REASONING: Final = frozenset({"thinking", "reasoning"})
"""Types of parts."""


class Seen:
    """What passed of one answer."""

    __slots__ = ("chunks", "reasoning", "size")

    def __init__(self, chunks: int, size: int, reasoning: int) -> None:
        self.chunks = chunks
        """Pieces of text; 0: it came whole."""
        self.size = size
        """Bytes of text: content, reasoning, refusals, and the names and arguments of tool calls."""
        self.reasoning = reasoning
        """Of `size`."""


def estimate(chunks: int, size: int) -> int:
    """Tokens of so many pieces of text with so many bytes in all: at least one a piece."""
    tokens = (size + BYTES_PER_TOKEN - 1) // BYTES_PER_TOKEN
    return tokens if tokens > chunks else chunks


def text_bytes(value: Any) -> int:
    """Bytes of text in a message's field, whatever its shape."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, list):
        return sum([text_bytes(each) for each in value])
    if isinstance(value, dict):
        return sum([text_bytes(each) for name, each in value.items() if name in _TEXTS or isinstance(each, (dict, list))])
    return 0


def message_bytes(content: Any, reasoning: Any, others: Any) -> tuple[int, int]:
    """Bytes of all text in a message or a delta, and of its reasoning."""
    thought = text_bytes(reasoning)
    if isinstance(content, list):
        thought += sum([text_bytes(part) for part in content if isinstance(part, dict) and part.get("type") in _REASONING])
        return text_bytes(content) + text_bytes(reasoning) + text_bytes(others), thought
    return text_bytes(content) + thought + text_bytes(others), thought


def echoed_bytes(request: AnyBody) -> int:
    """Bytes of the prompt that the answer repeats."""
    if type(request) is not CompletionBody or not request.echo:
        return 0
    return text_bytes(msgspec.json.decode(request.prompt)) * (request.n or 1)


def possible(report: UsageReport, seen: Seen, limit: int) -> bool:
    """Whether an engine can have made so many tokens for what passed; by the text alone."""
    return not too_few(report, seen) and not too_many(report, seen, limit, 0.0) and report.completion is not None and not report.unreadable


def too_few(report: UsageReport, seen: Seen) -> bool:
    completion = report.completion or 0
    if not seen.size:
        return False
    return not completion or seen.size > completion * _LEAST_BYTES + _SPARE_BYTES or seen.chunks > completion * _LEAST_CHUNKS


def too_many(report: UsageReport, seen: Seen, limit: int, seconds: float) -> bool:
    """`limit`: the most tokens that the client allowed; NO_LIMIT or that."""
    completion = report.completion or 0
    shown = completion - report.reasoning
    if 0 <= limit < shown:
        return True
    hidden = _TOLD_REASONING if report.reasoning else _HIDDEN_TOKENS
    return completion > seen.size + hidden + int(seconds * _FASTEST)


def most_prompt(prompt_estimate: int) -> int:
    """The longest prompt that an engine can make of ours."""
    return prompt_estimate * _LONGEST_PROMPT + _UNSEEN_PROMPT


def counted(report: UsageReport | None, seen: Seen, prompt_estimate: int, limit: int, seconds: float, *, whole: bool) -> TokenCount:
    """The tokens of an answer. `whole`: it has ended, so that the report is of all of it; `seconds`: since it was asked for."""
    own = estimate(seen.chunks, seen.size)
    if 0 <= limit < own:
        own = limit
    if report is None:
        return TokenCount(prompt_estimate, own, 0, _share(own, seen), estimated=True)
    prompt, completion, reasoning = report.prompt, report.completion, report.reasoning
    estimated = disputed = False
    if not prompt:
        # No prompt is empty: a zero is not told.
        prompt, estimated = prompt_estimate, True
    elif prompt > most_prompt(prompt_estimate):
        prompt, disputed = prompt_estimate, True
    if completion is None or (not whole and completion < own) or (not completion and not report.prompt and seen.size):
        completion, estimated = own, True
    elif too_few(report, seen) or too_many(report, seen, limit, seconds):
        completion, disputed = own, True
    if completion != report.completion or not reasoning:
        reasoning = _share(completion, seen)
    cached = report.cached if report.cached < prompt else prompt
    if reasoning > completion:
        reasoning = completion
    doubt = None
    if disputed or report.unreadable:
        doubt = Doubt(report.prompt or 0, report.completion or 0, disputed=disputed, unreadable=report.unreadable)
    return TokenCount(prompt, completion, cached, reasoning, estimated or disputed, doubt)


def _share(completion: int, seen: Seen) -> int:
    """The part of the tokens that was reasoning, as the text shows it."""
    if not seen.reasoning or not seen.size:
        return 0
    share = (completion * seen.reasoning + seen.size // 2) // seen.size
    # An answer beside it has a token at least.
    return share - 1 if share == completion > 1 and seen.size > seen.reasoning else share


def overrun(chunks: int, size: int, limit: int) -> bool:
    """Whether a text is certainly longer than the limit allows: by pieces and by bytes, or by bytes alone when they are many."""
    return (chunks > limit and size > BYTES_PER_TOKEN * limit) or size > 2 * BYTES_PER_TOKEN * limit + _SPARE_BYTES
