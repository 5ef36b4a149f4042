"""OpenAI's usage object: read from engines, written for clients."""

import tomllib
from functools import cache
from importlib import resources
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from penstock.domain.tokens import TokenCount, UsageReport

MOST_TOKENS: Final = 2**31 - 1
"""What journal and ledger can hold; anything more is no count of tokens."""

Tokens = Annotated[int, Meta(ge=0, le=MOST_TOKENS)]


class _LoosePromptDetails(msgspec.Struct, gc=False):
    cached_tokens: Tokens | None = None


class PromptDetails(_LoosePromptDetails, gc=False, forbid_unknown_fields=True):
    audio_tokens: Tokens | None = None
    text_tokens: Tokens | None = None
    image_tokens: Tokens | None = None


class _LooseCompletionDetails(msgspec.Struct, gc=False):
    reasoning_tokens: Tokens | None = None


class CompletionDetails(_LooseCompletionDetails, gc=False, forbid_unknown_fields=True):
    audio_tokens: Tokens | None = None
    text_tokens: Tokens | None = None
    image_tokens: Tokens | None = None
    accepted_prediction_tokens: Tokens | None = None
    rejected_prediction_tokens: Tokens | None = None


class LooseUsage(msgspec.Struct, gc=False):
    """OpenAI's usage object, whatever else stands in it. A count that is not there is negative."""

    prompt_tokens: Tokens = -1
    completion_tokens: Tokens = -1
    total_tokens: Tokens = 0
    prompt_tokens_details: _LoosePromptDetails | None = None
    completion_tokens_details: _LooseCompletionDetails | None = None

    def report(self) -> UsageReport:
        cached = self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else None
        reasoning = self.completion_tokens_details.reasoning_tokens if self.completion_tokens_details else None
        prompt, completion = self.prompt_tokens, self.completion_tokens
        return _report(prompt if prompt >= 0 else None, completion if completion >= 0 else None, cached, reasoning, self.total_tokens, "")


class Usage(LooseUsage, gc=False, forbid_unknown_fields=True):
    """OpenAI's usage object and nothing else: what most engines send. Every other one is for `read_usage`."""

    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


@cache
def names() -> dict[str, list[tuple[str, ...]]]:
    """The names of each meaning as paths, OpenAI's own first."""
    found: dict[str, list[tuple[str, ...]]] = {
        "prompt": [("prompt_tokens",)],
        "completion": [("completion_tokens",)],
        "cached": [("prompt_tokens_details", "cached_tokens")],
        "reasoning": [("completion_tokens_details", "reasoning_tokens")],
        "total": [("total_tokens",), ("totalTokenCount",), ("totalTokens",)],
    }
    text = resources.files("penstock.wire").joinpath("usage_names.toml").read_text("utf-8")
    for row in tomllib.loads(text)["name"]:
        found[row["meaning"]].append(tuple(row["field"].split(".")))
    return found


def usage_report(usage: Any) -> UsageReport:
    """A usage object, decoded: OpenAI's own, or another provider's."""
    try:
        return msgspec.convert(usage, Usage).report()
    except msgspec.ValidationError:
        return read_usage(usage)


def read_usage(usage: Any) -> UsageReport:
    """Any provider's usage object, decoded. What cannot be read counts as not told."""
    if not isinstance(usage, dict):
        return UsageReport(None, None, unreadable="usage")
    odd: list[str] = []
    values = {meaning: _first(usage, paths, odd) for meaning, paths in names().items()}
    return _report(values["prompt"], values["completion"], values["cached"], values["reasoning"], values["total"] or 0, ", ".join(odd))


def _first(usage: dict[str, Any], paths: list[tuple[str, ...]], odd: list[str]) -> int | None:
    """The first of the names that holds a count; names that hold something else are added to `odd`."""
    for path in paths:
        value: Any = usage
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if value is None:
            continue
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is int and 0 <= value <= MOST_TOKENS:
            return value
        odd.append(".".join(path))
    return None


def _report(prompt: int | None, completion: int | None, cached: int | None, reasoning: int | None, total: int, odd: str) -> UsageReport:
    """With the tokens that only the total has: reasoning that is not part of the completion, as xAI and Google count it."""
    cached, reasoning = cached or 0, reasoning or 0
    if completion is not None:
        beside = total - completion - (prompt or 0) if prompt and total <= MOST_TOKENS else 0
        if reasoning and (beside == reasoning or reasoning > completion):
            completion += reasoning
        elif beside > 0 and not reasoning and completion:
            completion, reasoning = completion + beside, beside
    return UsageReport(prompt, completion, cached, reasoning, odd)


def usage_json(count: TokenCount) -> dict[str, Any]:
    """OpenAI's usage object for a count of ours or an engine's."""
    usage: dict[str, Any] = {
        "prompt_tokens": count.prompt,
        "completion_tokens": count.completion,
        "total_tokens": count.prompt + count.completion,
        "prompt_tokens_details": {"cached_tokens": count.cached},
        "completion_tokens_details": {"reasoning_tokens": count.reasoning},
    }
    if count.estimated:
        usage["estimated"] = True
    return usage


def usage_event(request_id: str, created: int, model: str, service_tier: str, count: TokenCount, *, chat: bool) -> bytes:
    """The usage chunk that a client asked for and the engine did not send, or not as it can be."""
    chunk: dict[str, Any] = {
        "id": f"{'chatcmpl' if chat else 'cmpl'}-{request_id}",
        "object": "chat.completion.chunk" if chat else "text_completion",
        "created": created,
        "model": model,
        "service_tier": service_tier,
        "choices": [],
        "usage": usage_json(count),
    }
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"
