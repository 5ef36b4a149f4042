"""OpenAI's usage object: read from engines, written for clients."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from penstock.domain.tokens import TokenCount

Tokens = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""What journal and ledger can hold; anything else is rubbish."""


class _Details(msgspec.Struct, gc=False):
    cached_tokens: Tokens | None = None
    reasoning_tokens: Tokens | None = None


class Usage(msgspec.Struct, gc=False):
    """OpenAI's usage object, as engines send it."""

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None

    def count(self) -> TokenCount:
        cached = self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else None
        reasoning = self.completion_tokens_details.reasoning_tokens if self.completion_tokens_details else None
        return TokenCount(self.prompt_tokens or 0, self.completion_tokens or 0, cached or 0, reasoning or 0)


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
    """The usage chunk that a client asked for and the engine did not send."""
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
