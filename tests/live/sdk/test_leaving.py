"""Clients that leave, that wait, many at once, and workers that break."""

import asyncio
import time
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.live.conftest import BROKEN_MODEL, BUSY_MODEL
from tests.live.platform import eventually
from tests.live.sdk.target import Target, Targets

ASK: list[Any] = [{"role": "user", "content": "Tell me a long story."}]
LONG: dict[str, Any] = {"messages": ASK, "max_tokens": 5000, "stream": True, "extra_body": {"ignore_eos": True}}


def test_leaving_a_stream_stops_the_worker_and_is_recorded(client: OpenAI, target: Target) -> None:
    received = 0
    with client.chat.completions.create(model=target.model, **LONG) as stream:
        request_id = stream.response.headers["x-request-id"]
        for chunk in stream:
            received += bool(chunk.choices[0].delta.content)
            if received == 5:
                assert eventually(lambda: target.busy_workers, 3.0)
                break
    eventually(lambda: not target.busy_workers, 2.5)
    record = eventually(lambda: _record(target, request_id), 5.0)
    assert record["outcome"] == "client_left"
    assert 5 <= record["completion_tokens"] < 5000
    assert record["prompt_tokens"] > 0
    # A server that is called directly tells its prompt's tokens only at the end; our own worker does at the first byte.
    assert record["estimated"] == (target.engine != "sim")


def test_a_client_that_times_out_stops_the_worker(client: OpenAI, target: Target) -> None:
    request: dict[str, Any] = {**LONG, "stream": False}
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(model=target.model, **request)
    eventually(lambda: not target.busy_workers, 2.5)


async def test_fifty_streams_at_once(async_client: AsyncOpenAI, target: Target) -> None:
    async def tell(number: int) -> tuple[str, int]:
        messages: Any = [{"role": "user", "content": f"Story {number}"}]
        options: Any = {"include_usage": True}
        text, tokens = "", 0
        async for chunk in await async_client.chat.completions.create(
            model=target.model, messages=messages, max_tokens=12, stream=True, stream_options=options
        ):
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
            tokens = chunk.usage.completion_tokens if chunk.usage else 0
        return text, tokens

    told = await asyncio.gather(*(tell(number) for number in range(50)))
    assert [tokens for _, tokens in told] == [12] * 50
    assert len({text for text, _ in told}) == 50


def test_a_stream_that_waits_for_its_turn(targets: Targets) -> None:
    """Its client sees keep-alive comments, which no SDK shows, and then the answer."""
    with _guest(targets) as client, client.chat.completions.create(model=BUSY_MODEL, **LONG) as ahead:
        next(iter(ahead))
        began = time.monotonic()
        with client.chat.completions.create(model=BUSY_MODEL, messages=ASK, max_tokens=3, stream=True) as stream:
            # Status 200 came although nothing can be answered yet.
            assert 1.5 < time.monotonic() - began < 10
            ahead.close()
            assert list(stream)[-1].choices[0].finish_reason == "length"


def test_a_clients_time_limit_is_its_deadline_in_the_queue(targets: Targets) -> None:
    """The SDK tells how long it waits; who cannot be served by then is told so instead of being kept."""
    with _guest(targets) as client, client.chat.completions.create(model=BUSY_MODEL, **LONG) as ahead:
        next(iter(ahead))
        began = time.monotonic()
        with pytest.raises(openai.InternalServerError) as raised:
            client.chat.completions.create(model=BUSY_MODEL, messages=ASK, max_tokens=3, extra_headers={"x-stainless-read-timeout": "0.5"})
        assert time.monotonic() - began < 3
        assert (raised.value.status_code, raised.value.code) == (504, "deadline_exceeded")


def test_a_stream_that_breaks_raises(targets: Targets) -> None:
    """After the first token no other worker can take over: the SDK gets what was made, then one error."""
    with _guest(targets) as client:
        stream = client.chat.completions.create(model=BROKEN_MODEL, **LONG)
        received: list[str] = []
        with pytest.raises(openai.APIError) as raised:
            received.extend(chunk.choices[0].delta.content or "" for chunk in stream)
        assert (raised.value.code, raised.value.type) == ("upstream_error", "server_error")
        assert "".join(received)


def _guest(targets: Targets) -> OpenAI:
    target = targets["sim"]
    return OpenAI(base_url=target.base_url, api_key=target.api_key, max_retries=0, timeout=30)


def _record(target: Target, request_id: str) -> Any:
    """The ledger's line, when it is there."""
    lines = target.control.get("/api/usage/records?limit=100")["data"]
    return next((line for line in lines if line["request_id"] == request_id), None)
