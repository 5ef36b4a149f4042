"""One chat completion: asked, streamed, measured; asked again when a limit says when."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.cli.client import ratelimit
from penstock.cli.client.api import Api, refusal_of_body
from penstock.cli.client.ratelimit import LimitState
from penstock.cli.client.sse import DONE, EventParser
from penstock.cli.exits import Failed, RequestRefused
from penstock.domain.clock import Clock

ANSWER_TIMEOUT_SECONDS = 300.0
"""Silence that is given up: the gateway sends a comment at least every 15 s while a request waits."""


@dataclass(frozen=True, slots=True)
class ChatReply:
    text: str
    model: str
    tier: str
    usage: Mapping[str, Any] | None
    finish_reason: str
    request_id: str
    total_ms: float
    first_token_ms: float | None
    limits: tuple[LimitState, ...] = ()


@dataclass
class _Stream:
    """What the chunks have said so far."""

    headers: Mapping[str, str]
    pieces: list[str] = field(default_factory=list)
    model: str = ""
    tier: str = ""
    finish_reason: str = ""
    usage: Mapping[str, Any] | None = None

    def take(self, event: str) -> str:
        """Note one chunk; the text that it adds. Raises RequestRefused when it is an error event."""
        try:
            chunk = json.loads(event)
        except ValueError as error:
            raise Failed("the answer holds an event that is not JSON") from error
        if chunk.get("error"):
            raise refusal_of_body(0, self.headers, chunk)
        self.model = chunk.get("model") or self.model
        self.tier = chunk.get("service_tier") or self.tier
        self.usage = chunk.get("usage") or self.usage
        choice: Mapping[str, Any] = next(iter(chunk.get("choices") or ()), {})
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        text = (choice.get("delta") or {}).get("content") or ""
        self.pieces.append(text)
        return text


def ask(api: Api, body: Mapping[str, Any], on_text: Callable[[str], None], clock: Clock) -> ChatReply:
    """Stream one answer, each piece of text to `on_text`. Interrupting closes the connection. Raises RequestRefused, Failed."""
    started = clock.monotonic()
    first: float | None = None
    request = {**body, "stream": True, "stream_options": {"include_usage": True}}
    with api.stream("/v1/chat/completions", request, timeout_seconds=ANSWER_TIMEOUT_SECONDS) as response:
        stream = _Stream(response.headers)
        for event in _events(response.iter_bytes()):
            text = stream.take(event)
            if text:
                first = clock.monotonic() if first is None else first
                on_text(text)
        return ChatReply(
            "".join(stream.pieces),
            stream.model,
            stream.tier,
            stream.usage,
            stream.finish_reason,
            response.headers.get("x-request-id", ""),
            (clock.monotonic() - started) * 1000,
            (first - started) * 1000 if first is not None else None,
            ratelimit.limits_of(response.headers),
        )


def _events(pieces: Iterator[bytes]) -> Iterator[str]:
    """Events up to `[DONE]`. Raises Failed when the stream ends without it."""
    parser = EventParser()
    for piece in pieces:
        for event in parser.feed(piece):
            if event == DONE:
                return
            yield event
    raise Failed("the answer broke off")


@dataclass(frozen=True, slots=True)
class RateLimitPatience:
    """What to do about a 429."""

    wait: bool
    max_wait_seconds: float
    """Of all waits for one answer together."""
    say: Callable[[str], None]
    sleep: Callable[[float], None]


def ask_patiently(ask_once: Callable[[], ChatReply], patience: RateLimitPatience) -> ChatReply:
    """As `ask_once`, and again each time that a limit has passed. Raises what it raises when waiting is unwanted or in vain."""
    waited = 0.0
    while True:
        try:
            return ask_once()
        except RequestRefused as refused:
            seconds = ratelimit.wait_seconds(refused)
            if seconds is None or not patience.wait or waited + seconds > patience.max_wait_seconds:
                raise
            patience.say(f"limited: {refused}")
            ratelimit.count_down(seconds, patience.sleep)
            waited += seconds
