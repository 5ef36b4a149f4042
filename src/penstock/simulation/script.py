"""What the simulated model says: drawn from model, prompt, seed and choice alone, so the same question has the same answer.

A script is fixed before the first token is due: what a token shows, where a stop text cuts, how it ends. Sampling parameters that
shape a real distribution (temperature, top_p, penalties) are accepted and change nothing; `logit_bias` does.
"""

import hashlib
from collections.abc import Mapping, Sequence
from random import Random

import msgspec

from penstock.domain.inference import Operation
from penstock.domain.ports.engine import (
    Conversation,
    Event,
    Finished,
    FinishReason,
    GenerationRequest,
    Prompt,
    Token,
    TokenLogprob,
    Tool,
    ToolCallArguments,
    ToolCallStarted,
)
from penstock.simulation import tokens
from penstock.simulation.json_values import json_text

SHORTEST_ANSWER = 16
LONGEST_ANSWER = 64
"""Tokens of an answer whose length was not asked for."""
SENTENCE = 12
"""Tokens of a sentence, its full stop included."""
_PLAIN = frozenset({"$schema", "type", "title", "description", "properties", "required", "additionalProperties"})
"""Words of a schema that ask for no value where there are no properties."""


class Script(msgspec.Struct, frozen=True):
    """One choice. A step is what one generated token shows: None where a stop text swallowed it."""

    echo: tuple[Event, ...]
    steps: tuple[Event | None, ...]
    end: Finished


def write(request: GenerationRequest, room: int) -> list[Script]:
    """The scripts of all choices, in order. `room` is how many tokens each may have in the model's context."""
    limit = room if request.max_tokens is None else min(request.max_tokens, room)
    scripts = []
    for at, prompt in enumerate(request.prompts):
        digest = _digest(request, prompt)
        for n in range(request.choices):
            choice = at * request.choices + n
            # Mixed by a prime so that a choice of one seed is not the first choice of the next.
            rng = Random(digest + n * 0x9E3779B97F4A7C15)
            scripts.append(_script(request, prompt, choice, limit, rng))
    return scripts


def _digest(request: GenerationRequest, prompt: Prompt) -> int:
    text = f"{request.model}\0{request.seed or 0}\0{tokens.text_of(prompt)}"
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def _script(request: GenerationRequest, prompt: Prompt, choice: int, limit: int, rng: Random) -> Script:
    called = _tools_to_call(request, prompt)
    if called:
        return _calls(called, choice, limit, rng)
    if request.json_schema is not None:
        pieces = tokens.split(json_text(request.json_schema, rng, "response_format"))
        whole = len(pieces)
    else:
        whole = limit if request.ignore_eos else rng.randint(SHORTEST_ANSWER, LONGEST_ANSWER)
        pieces = _prose(min(whole, limit), request.logit_bias, rng)
        if request.operation is Operation.COMPLETION:
            pieces[0] = f" {pieces[0]}"  # it goes on where the prompt ends
    reason: FinishReason = "stop" if whole <= limit and not request.ignore_eos else "length"
    shown: Sequence[str | None] = pieces[:limit]
    if request.stop and (cut := _cut(pieces[:limit], request.stop)) is not None:
        shown, reason = cut, "stop"
    top = request.top_logprobs
    steps = tuple(None if piece is None else Token(choice, piece, None if top is None else _logprob(piece, top, rng)) for piece in shown)
    return Script(_echo(request, prompt, choice), steps, Finished(choice, reason))


def _prose(length: int, bias: Mapping[int, float], rng: Random) -> list[str]:
    """Words in sentences (bare words under a bias); each piece is one token by the tokenizer's rule. `length` is at least 1."""
    weights = _weights(bias) if bias else None
    drawn = rng.choices(tokens.VOCABULARY, weights, k=length)
    if not bias:
        drawn[::SENTENCE] = [word.capitalize() for word in drawn[::SENTENCE]]
    pieces = [drawn[0], *(f" {word}" for word in drawn[1:])]
    if not bias:
        pieces[SENTENCE - 1 :: SENTENCE] = ["."] * (length // SENTENCE)
    return pieces


def _weights(bias: Mapping[int, float]) -> list[float]:
    """How likely each word is: -100 forbids it, 100 leaves only those that have it, in between by the exponential."""
    weights = [0.0 if bias.get(at, 0.0) <= -100 else 2.718281828 ** min(bias.get(at, 0.0), 100.0) for at in range(len(tokens.VOCABULARY))]
    return weights if any(weights) else [1.0] * len(weights)


def _cut(pieces: Sequence[str], stops: Sequence[str]) -> list[str | None] | None:
    """The tokens up to the one that completes the first stop text, showing only what comes before it; None: no stop text."""
    text = "".join(pieces)
    found = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    if not found:
        return None
    ends, begins = min(found)
    shown: list[str | None] = []
    position = 0
    for piece in pieces:
        if position >= ends:
            break
        shown.append(piece[: begins - position] if position < begins else None)
        position += len(piece)
    return shown


def _echo(request: GenerationRequest, prompt: Prompt, choice: int) -> tuple[Event, ...]:
    if not request.echo or isinstance(prompt, Conversation):
        return ()
    pieces = tokens.split(prompt) if isinstance(prompt, str) else tokens.words(prompt)
    logprob = request.top_logprobs is not None
    return tuple(Token(choice, piece, TokenLogprob(piece, 0.0) if logprob else None) for piece in pieces)


def _logprob(piece: str, top: int, rng: Random) -> TokenLogprob:
    chosen = -rng.random()
    others = [f" {word}" for word in rng.sample(tokens.VOCABULARY, top + 1)]
    alternatives = [(other, chosen - at - rng.random()) for at, other in enumerate(other for other in others if other != piece)]
    return TokenLogprob(piece, chosen, ((piece, chosen), *alternatives)[:top])


# --- tools ---------------------------------------------------------------------------------------------------------


def _tools_to_call(request: GenerationRequest, prompt: Prompt) -> tuple[Tool, ...]:
    """The first tool, or the one named; every tool once when parallel calls are asked for. A tool's result is answered in words."""
    mode = request.tool_choice.mode
    if not request.tools or mode == "none" or not isinstance(prompt, Conversation):
        return ()
    if mode == "named":
        return tuple(tool for tool in request.tools if tool.name == request.tool_choice.name)[:1]
    if mode == "auto" and prompt.messages[-1].role in {"tool", "function"}:
        return ()
    return request.tools if request.parallel_tool_calls else request.tools[:1]


def _calls(tools: Sequence[Tool], choice: int, limit: int, rng: Random) -> Script:
    """A call's opening is one token, then its arguments token by token."""
    steps: list[Event] = []
    for index, tool in enumerate(tools):
        steps.append(ToolCallStarted(choice, index, f"call_{rng.getrandbits(96):024x}", tool.name))
        steps.extend(ToolCallArguments(choice, index, piece) for piece in tokens.split(_arguments(tool, rng)))
    reason: FinishReason = "tool_calls" if len(steps) <= limit else "length"
    return Script((), tuple(steps[:limit]), Finished(choice, reason))


def _arguments(tool: Tool, rng: Random) -> str:
    """Nothing for a tool without parameters: its function takes none."""
    schema = tool.parameters
    plain = _PLAIN.issuperset(schema) and schema.get("type", "object") == "object"
    return "{}" if plain and not schema.get("properties") and not schema.get("required") else json_text(schema, rng, "tools")
