"""A closed loop of clients that ask the same thing, and the numbers that it gives."""

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from penstock.cli.client.api import refusal, refusal_of_body, request_headers
from penstock.cli.client.sse import DONE, EventParser
from penstock.cli.exits import Failed, RequestRefused
from penstock.net.api_client.connection import GatewayConnection, around_proxies, verified_by

if TYPE_CHECKING:
    import httpx

_REQUEST_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Summary:
    succeeded: int
    failed: int
    seconds: float
    requests_per_second: float
    tokens_per_second: float
    """Completion tokens, as the gateway counts them."""
    completion_tokens: int
    total_ms: Mapping[str, float]
    first_token_ms: Mapping[str, float]
    """Empty without streaming."""
    errors: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class _LoadTally:
    total_seconds: list[float] = field(default_factory=list)
    first_token_seconds: list[float] = field(default_factory=list)
    completion_tokens: int = 0
    errors: Counter[str] = field(default_factory=Counter)


class Load:
    def __init__(
        self, connection: GatewayConnection, body: Mapping[str, Any], *, stream: bool, requests: int, concurrency: int, max_seconds: float
    ) -> None:
        self._connection = connection
        self._body = dict(body) | ({"stream": True, "stream_options": {"include_usage": True}} if stream else {})
        self._stream = stream
        self._left = requests
        self._concurrency = min(concurrency, requests)
        self._max_seconds = max_seconds
        self._tally = _LoadTally()

    async def run(self) -> Summary:
        import httpx

        limits = httpx.Limits(max_connections=self._concurrency, max_keepalive_connections=self._concurrency)
        started = time.perf_counter()
        async with httpx.AsyncClient(
            base_url=self._connection.root,
            headers=request_headers(self._connection),
            limits=limits,
            timeout=_REQUEST_TIMEOUT_SECONDS,
            mounts=around_proxies(self._connection),
            verify=verified_by(self._connection),
        ) as client:
            await asyncio.gather(*(self._one_client(client, started + self._max_seconds) for _ in range(self._concurrency)))
        return summarise(self._tally, time.perf_counter() - started)

    async def _one_client(self, client: "httpx.AsyncClient", stop_at: float) -> None:
        while self._left > 0 and time.perf_counter() < stop_at:
            self._left -= 1
            await self._one_request(client)

    async def _one_request(self, client: "httpx.AsyncClient") -> None:
        import httpx

        started = time.perf_counter()
        try:
            await (self._ask_streamed(client, started) if self._stream else self._ask(client))
        except RequestRefused as refused:
            self._tally.errors[refused.code or str(refused.status)] += 1
        except Failed:
            self._tally.errors["bad_answer"] += 1
        except httpx.HTTPError as error:
            self._tally.errors[type(error).__name__] += 1
        else:
            self._tally.total_seconds.append(time.perf_counter() - started)

    async def _ask(self, client: "httpx.AsyncClient") -> None:
        response = await client.post("/v1/chat/completions", json=self._body)
        if not response.is_success:
            raise refusal(response.status_code, response.headers, response.content)
        self._count(_decoded(response.content).get("usage"))

    async def _ask_streamed(self, client: "httpx.AsyncClient", started: float) -> None:
        parser, first, done = EventParser(), True, False
        async with client.stream("POST", "/v1/chat/completions", json=self._body) as response:
            if not response.is_success:
                raise refusal(response.status_code, response.headers, await response.aread())
            async for piece in response.aiter_bytes():
                for event in parser.feed(piece):
                    if event == DONE:
                        done = True
                        continue
                    has_text = self._take(event, response.headers)
                    if has_text and first:
                        first = False
                        self._tally.first_token_seconds.append(time.perf_counter() - started)
        if not done:
            raise Failed("the answer broke off")

    def _take(self, event: str, headers: Mapping[str, str]) -> bool:
        """True when the chunk has text. Raises RequestRefused for an error event."""
        chunk = _decoded(event)
        if chunk.get("error"):
            raise refusal_of_body(0, headers, chunk)
        self._count(chunk.get("usage"))
        return any((choice.get("delta") or {}).get("content") for choice in chunk.get("choices") or ())

    def _count(self, usage: Mapping[str, Any] | None) -> None:
        self._tally.completion_tokens += (usage or {}).get("completion_tokens", 0)


def _decoded(text: str | bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Failed("not JSON") from error
    if not isinstance(value, dict):
        raise Failed("not a JSON object")
    return value


def summarise(tally: _LoadTally, seconds: float) -> Summary:
    succeeded = len(tally.total_seconds)
    return Summary(
        succeeded=succeeded,
        failed=tally.errors.total(),
        seconds=round(seconds, 3),
        requests_per_second=round(succeeded / seconds, 2),
        tokens_per_second=round(tally.completion_tokens / seconds, 2),
        completion_tokens=tally.completion_tokens,
        total_ms=_quantiles(tally.total_seconds),
        first_token_ms=_quantiles(tally.first_token_seconds),
        errors=dict(tally.errors.most_common()),
    )


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Nearest-rank percentiles in milliseconds; empty for no samples."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    return {f"p{percent}": round(ordered[math.ceil(percent / 100 * len(ordered)) - 1] * 1000, 2) for percent in (50, 95, 99)}
