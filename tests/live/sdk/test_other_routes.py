"""Legacy completions, embeddings and models."""

import base64
import struct
from typing import Any

import pytest
from openai import NotFoundError, OpenAI

from tests.live.sdk.target import Target


def test_legacy_completion_has_text_and_usage(client: OpenAI, target: Target) -> None:
    answer = client.completions.create(model=target.model, prompt="The river", max_tokens=5, echo=True, logprobs=2)
    assert answer.id.startswith("cmpl-")
    assert (answer.object, answer.model) == ("text_completion", target.model)
    (choice,) = answer.choices
    assert choice.text.startswith("The river ")
    assert choice.finish_reason == "length"
    assert choice.logprobs is not None
    assert "".join(choice.logprobs.tokens or ()) == choice.text
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


def test_a_streamed_completion(client: OpenAI, target: Target) -> None:
    whole = client.completions.create(model=target.model, prompt="The river", max_tokens=8)
    options: Any = {"include_usage": True}
    chunks = list(client.completions.create(model=target.model, prompt="The river", max_tokens=8, stream=True, stream_options=options))
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == whole.choices[0].text
    assert chunks[-1].usage == whole.usage
    plain = list(client.completions.create(model=target.model, prompt="The river", max_tokens=8, stream=True))
    assert not any(chunk.usage for chunk in plain)


def test_several_prompts_and_token_ids(client: OpenAI, target: Target) -> None:
    several = client.completions.create(model=target.model, prompt=["one", "two"], n=2, max_tokens=3)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    ids = client.completions.create(model=target.model, prompt=[1, 2, 3], max_tokens=3)
    assert ids.usage is not None
    assert ids.usage.prompt_tokens == 3


def test_embeddings_are_the_same_in_both_encodings(client: OpenAI, target: Target) -> None:
    texts = ["the river", "the dam"]
    # The SDK itself asks for base64 and unpacks it, unless it is told otherwise.
    usual = client.embeddings.create(model=target.model, input=texts, dimensions=16)
    floats = client.embeddings.create(model=target.model, input=texts, dimensions=16, encoding_format="float")
    packed = client.embeddings.create(model=target.model, input=texts, dimensions=16, encoding_format="base64")
    assert [each.index for each in usual.data] == [0, 1]
    assert [len(each.embedding) for each in usual.data] == [16, 16]
    unpacked = [list(struct.unpack("<16f", base64.b64decode(str(each.embedding)))) for each in packed.data]
    assert [each.embedding for each in usual.data] == unpacked
    for one, other in zip(usual.data, floats.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, rel=1e-6)
    assert usual.usage == floats.usage
    assert usual.usage.prompt_tokens == usual.usage.total_tokens > 0
    assert usual.model == target.model


def test_embeddings_of_token_ids(client: OpenAI, target: Target) -> None:
    answer = client.embeddings.create(model=target.model, input=[[1, 2, 3], [4]])
    assert len(answer.data) == 2
    assert answer.usage.prompt_tokens == 4


def test_models_are_listed_and_retrieved(client: OpenAI, target: Target) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert target.model in listed
    one = client.models.retrieve(target.model)
    assert one == listed[target.model]
    assert (one.id, one.object) == (target.model, "model")
    assert one.created > 1_700_000_000
    assert one.owned_by


def test_a_model_that_is_not_there(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as raised:
        client.models.retrieve("no/such-model")
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


def test_routes_that_are_not_there_answer_in_the_same_shape(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as raised:
        client.images.generate(prompt="a dam")
    assert raised.value.code == "not_found"
    assert raised.value.type == "invalid_request_error"
