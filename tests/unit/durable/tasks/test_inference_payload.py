"""Payloads of inferences, as they are submitted."""

import json
from typing import Any

import pytest

from penstock.domain.errors import Unprocessable
from penstock.durable.tasks.specs.inference_payload import with_url
from penstock.durable.tasks.specs.references import TooDeep

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("body", "url"),
    [
        (CHAT, "/v1/chat/completions"),
        ({"model": "m", "prompt": "Hi"}, "/v1/completions"),
        ({"model": "m", "input": ["a", "b"]}, "/v1/embeddings"),
        (CHAT | {"stream": False, "class": "x"}, "/v1/chat/completions"),
        ({"model": "m", "messages": {"$result": "task_a"}}, "/v1/chat/completions"),
    ],
)
def test_plain_body_gets_the_url_of_its_fields(body: dict[str, Any], url: str) -> None:
    assert json.loads(with_url(json.dumps(body))) == {"url": url, "body": body}


@pytest.mark.parametrize(
    "payload",
    [
        {"url": "/v1/embeddings", "body": {}},
        {"url": "/v1/chat/completions", "class": "own", "body": CHAT},
        {"url": "/v1/chat/completions", "body": {"$result": "task_a", "path": "body"}},
        {"$result": "task_a"},
    ],
)
def test_payload_with_a_url_is_left_alone(payload: dict[str, Any]) -> None:
    assert with_url(json.dumps(payload)) == json.dumps(payload)


@pytest.mark.parametrize(
    ("payload", "param"),
    [
        ([], "payload"),
        (None, "payload"),
        ("text", "payload"),
        ({}, "payload"),
        ({"model": "m"}, "payload"),
        ({"messages": []}, "payload"),
        ({"model": "m", "messages": [], "prompt": "x"}, "payload"),
        (CHAT | {"stream": True}, "payload.body.stream"),
        ({"url": "/v1/nothing", "body": {}}, "payload.url"),
        ({"url": ["/v1/embeddings"], "body": {}}, "payload.url"),
        ({"url": "/v1/responses", "body": {}}, "payload.url"),
        ({"url": "/v1/embeddings"}, "payload.body"),
        ({"url": "/v1/embeddings", "body": []}, "payload.body"),
        ({"body": CHAT}, "payload.url"),
        ({"url": "/v1/embeddings", "body": {}, "class": "gold"}, "payload.class"),
        ({"url": "/v1/embeddings", "body": {}, "model": "m"}, "payload"),
        ({"url": "/v1/chat/completions", "body": CHAT | {"stream": True}}, "payload.body.stream"),
    ],
    ids=str,
)
def test_payload_that_no_runner_could_run_is_refused(payload: Any, param: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        with_url(json.dumps(payload))
    assert caught.value.param == param


def test_payload_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(TooDeep):
        with_url("[" * 100_000 + "]" * 100_000)
