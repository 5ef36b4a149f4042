"""Tiers, ids, limits and idempotency: what goes beside the answer."""

import re
from typing import Any
from uuid import uuid4

import pytest
from openai import BadRequestError, ConflictError, OpenAI

from tests.live.sdk.target import Target

ASK: list[Any] = [{"role": "user", "content": "How high is the dam?"}]
DURATION = re.compile(r"(\d+h)?(\d+m)?(\d+(\.\d+)?(s|ms))?")


@pytest.mark.parametrize(("asked", "served"), [("auto", "default"), ("default", "default"), ("priority", "priority"), ("flex", "flex")])
def test_the_tier_that_was_served(asked: Any, served: str, client: OpenAI, target: Target) -> None:
    answer = client.chat.completions.create(model=target.model, messages=ASK, max_tokens=2, service_tier=asked)
    assert answer.service_tier == served
    stream = client.chat.completions.create(model=target.model, messages=ASK, max_tokens=2, service_tier=asked, stream=True)
    assert {chunk.service_tier for chunk in stream} == {served}


def test_an_unknown_tier_is_a_bad_request(client: OpenAI, target: Target) -> None:
    with pytest.raises(BadRequestError) as raised:
        client.chat.completions.create(model=target.model, messages=ASK, extra_body={"service_tier": "turbo"})
    assert raised.value.param == "service_tier"


@pytest.mark.parametrize("stream", [False, True])
def test_headers_of_an_answer(stream: Any, client: OpenAI, target: Target) -> None:
    raw = client.chat.completions.with_raw_response.create(model=target.model, messages=ASK, max_tokens=2, stream=stream)
    headers = raw.headers
    if stream:
        list(raw.parse())
    for name in ("requests", "tokens"):
        assert int(headers[f"x-ratelimit-limit-{name}"]) >= int(headers[f"x-ratelimit-remaining-{name}"]) >= 0
        assert DURATION.fullmatch(headers[f"x-ratelimit-reset-{name}"])
    assert "ratelimit" in headers
    assert "ratelimit-policy" in headers
    assert int(headers["openai-processing-ms"]) >= 0
    assert headers["x-request-id"].startswith("req_")
    assert headers["x-penstock-pool"] == "standard"
    assert headers["x-penstock-worker"]


def test_a_request_id_of_the_clients_own(client: OpenAI, target: Target) -> None:
    answer = client.chat.completions.create(model=target.model, messages=ASK, max_tokens=2, extra_headers={"X-Request-ID": "my.trace-1_a"})
    assert answer._request_id == "my.trace-1_a"
    unusable = client.chat.completions.create(model=target.model, messages=ASK, max_tokens=2, extra_headers={"X-Request-ID": "a b"})
    assert (unusable._request_id or "").startswith("req_")
    assert (client.models.list()._request_id or "").startswith("req_")


def test_a_repeated_request_gets_the_first_answer(client: OpenAI, target: Target) -> None:
    name = {"Idempotency-Key": uuid4().hex}
    first = client.chat.completions.create(model=target.model, messages=ASK, max_tokens=8, extra_headers=name)
    raw = client.chat.completions.with_raw_response.create(model=target.model, messages=ASK, max_tokens=8, extra_headers=name)
    assert raw.headers["idempotent-replayed"] == "true"
    again = raw.parse()
    assert (again.id, again.choices) == (first.id, first.choices)
    with pytest.raises(ConflictError) as raised:
        client.with_options(max_retries=2).chat.completions.create(model=target.model, messages=ASK, max_tokens=9, extra_headers=name)
    assert raised.value.code == "idempotency_conflict"
    assert raised.value.response.headers["x-should-retry"] == "false"
