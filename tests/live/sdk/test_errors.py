"""Errors: the SDK's exception, and what it carries."""

from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.live.platform import eventually
from tests.live.sdk.conftest import NewKey
from tests.live.sdk.target import Target

ASK: list[Any] = [{"role": "user", "content": "Is it open?"}]


def test_a_wrong_key(client: OpenAI, target: Target) -> None:
    for key in ("sk-nothing-of-ours", target.api_key[:-1] + ("a" if target.api_key[-1] != "a" else "b")):
        with pytest.raises(openai.AuthenticationError) as raised:
            client.with_options(api_key=key).chat.completions.create(model=target.model, messages=ASK)
        assert (raised.value.code, raised.value.type) == ("invalid_api_key", "authentication_error")
        assert (raised.value.request_id or "").startswith("req_")
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key=key).models.list()


def test_a_revoked_key(client: OpenAI, target: Target, new_key: NewKey) -> None:
    key = new_key()
    guest = client.with_options(api_key=key["secret"])
    guest.chat.completions.create(model=target.model, messages=ASK, max_tokens=1)
    target.control.delete(f"/api/keys/{key['id']}")

    def refused() -> bool:
        try:
            guest.chat.completions.create(model=target.model, messages=ASK, max_tokens=1)
        except openai.AuthenticationError:
            return True
        return False

    eventually(refused, 1.0)


def test_an_unknown_model(client: OpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(openai.NotFoundError) as raised:
            client.chat.completions.create(model="no/such-model", messages=ASK, stream=stream)
        assert (raised.value.code, raised.value.param) == ("model_not_found", "model")
        assert "no/such-model" in raised.value.message


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"max_tokens": -1}, "max_tokens", "invalid_request_error"),
    ({"temperature": 3}, "temperature", "invalid_request_error"),
    ({"n": 0}, "n", "invalid_request_error"),
    ({"stop": list("abcde")}, "stop", "invalid_request_error"),
    ({"messages": []}, "messages", "invalid_request_error"),
    ({"metadata": {"name": "x" * 513}}, "metadata", "invalid_request_error"),
    ({"top_logprobs": 3}, "top_logprobs", "invalid_request_error"),
    ({"tool_choice": "required"}, "tool_choice", "invalid_request_error"),
    ({"max_tokens": 1_000_000}, "messages", "context_length_exceeded"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content", "unsupported_parameter"),
]


@pytest.mark.parametrize(("fields", "param", "code"), BAD, ids=[f"{param}-{code}" for _, param, code in BAD])
@pytest.mark.parametrize("stream", [False, True])
def test_a_bad_request_names_the_field(fields: dict[str, Any], param: str, code: str, stream: bool, client: OpenAI, target: Target) -> None:
    request: dict[str, Any] = {"model": target.model, "messages": ASK, "stream": stream, **fields}
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**request)
    assert (raised.value.code, raised.value.type) == (code, "invalid_request_error")
    assert (raised.value.param or "").startswith(param)
    assert raised.value.message


def test_a_key_without_the_scope(client: OpenAI, target: Target, new_key: NewKey) -> None:
    reader = client.with_options(api_key=new_key(scopes=["usage:read"])["secret"])
    with pytest.raises(openai.PermissionDeniedError) as raised:
        reader.chat.completions.create(model=target.model, messages=ASK)
    assert raised.value.code == "permission_denied"


def test_a_tier_that_the_plan_lacks(client: OpenAI, target: Target, new_key: NewKey) -> None:
    organisation = target.control.post("/api/orgs", {"name": "Free swimmers", "plan": "free"})
    guest = client.with_options(api_key=new_key(org_id=organisation["id"])["secret"])
    guest.chat.completions.create(model=target.model, messages=ASK, max_tokens=1)
    with pytest.raises(openai.PermissionDeniedError) as raised:
        guest.chat.completions.create(model=target.model, messages=ASK, service_tier="priority")
    assert raised.value.param == "service_tier"


def test_a_rate_limit_and_the_sdks_own_retry(client: OpenAI, target: Target, new_key: NewKey) -> None:
    guest = client.with_options(api_key=new_key(requests_per_minute=60)["secret"])

    def ask(guest: OpenAI, times: int = 1) -> None:
        for _ in range(times):
            guest.embeddings.create(model=target.model, input="x", dimensions=1)

    with pytest.raises(openai.RateLimitError) as raised:
        ask(guest, 120)
    headers = raised.value.response.headers
    assert (raised.value.code, raised.value.type) == ("rate_limit_exceeded", "rate_limit_error")
    assert headers["x-ratelimit-limit-requests"] == "60"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert int(headers["retry-after"]) == 1
    assert 0 < int(headers["retry-after-ms"]) <= 1000
    ask(guest.with_options(max_retries=2))


def test_a_request_that_no_waiting_would_let_through_is_not_tried_again(client: OpenAI, target: Target, new_key: NewKey) -> None:
    guest = client.with_options(api_key=new_key(tokens_per_minute=50)["secret"], max_retries=5)
    with pytest.raises(openai.RateLimitError) as raised:
        guest.chat.completions.create(model=target.model, messages=ASK, max_tokens=100)
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert raised.value.response.request.headers["x-stainless-retry-count"] == "0"


def test_an_error_of_the_stream_helper(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError), client.chat.completions.stream(model="no/such-model", messages=ASK):
        pass
