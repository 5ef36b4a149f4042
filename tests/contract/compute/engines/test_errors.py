"""What is refused, and how it is said."""

from typing import Any

import httpx
import pytest

from tests.contract.compute.engines.subjects import Subject

pytestmark = pytest.mark.feature("errors")

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/chat/completions", {"messages": HELLO}), ("/v1/completions", {"prompt": "x"}), ("/v1/embeddings", {"input": "x"})],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_model_is_404(served: Subject, path: str, body: dict[str, Any], stream: bool) -> None:
    status, error = await served.error(path, **{**body, "model": "no-such-model", "stream": stream})
    assert (status, error["code"], error["type"]) == (404, "model_not_found", "invalid_request_error")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_beyond_the_context_is_400(served: Subject, stream: bool) -> None:
    assert served.offer.context_length is not None
    content = "word " * (served.offer.context_length + 10)
    status, error = await served.error("/v1/chat/completions", messages=[{"role": "user", "content": content}], stream=stream)
    assert (status, error["code"]) == (400, "context_length_exceeded")


async def test_more_tokens_than_the_context_has_are_400(served: Subject) -> None:
    status, error = await served.error("/v1/chat/completions", messages=HELLO, max_tokens=served.offer.context_length)
    assert (status, error["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": "Hello"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages[0].role"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"temperature": 3}, "temperature"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": ""}, None),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"logit_bias": {"word": 1}}, "logit_bias"),
    ],
)
async def test_a_field_of_the_wrong_kind_is_named(served: Subject, body: dict[str, Any], param: str | None) -> None:
    response = await served.post("/v1/chat/completions", **{"messages": HELLO, "max_tokens": 1, **body})
    if param is None:
        assert response.status_code == 200
        return
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert set(error) == {"message", "type", "param", "code"}


async def test_no_prompt_at_all_is_400(served: Subject) -> None:
    status, error = await served.error("/v1/completions", prompt=[])
    assert (status, error["type"], error["param"]) == (400, "invalid_request_error", "prompt")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b"[" * 5000])
async def test_body_that_is_not_a_json_object_is_400(served: Subject, content: bytes) -> None:
    response = await served.http.post("/v1/chat/completions", content=content)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.feature("auth")
@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", "Basic eDp5"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/health", "/metrics", "/penstock/link", "/nowhere"])
async def test_request_without_the_secret_is_401(served: Subject, given: str | None, path: str) -> None:
    headers = {} if given is None else {"authorization": given}
    async with httpx.AsyncClient(base_url=served.http.base_url, headers=headers, trust_env=False) as stranger:
        response = await stranger.get(path)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"


async def test_an_unknown_path_and_a_wrong_method_have_openai_errors(served: Subject) -> None:
    nowhere = await served.http.get("/v1/nowhere")
    assert (nowhere.status_code, nowhere.json()["error"]["code"]) == (404, "not_found")
    wrong = await served.http.get("/v1/chat/completions")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
