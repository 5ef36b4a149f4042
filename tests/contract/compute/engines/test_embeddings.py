"""Embeddings."""

import base64
import math
from array import array
from typing import Any

import pytest

from tests.contract.compute.engines.features import TOKEN_IDS
from tests.contract.compute.engines.subjects import Subject

pytestmark = pytest.mark.feature("embeddings", needs="embeddings")


async def vectors(served: Subject, given: object, **body: Any) -> list[list[float]]:
    response = await served.post("/v1/embeddings", input=given, **body)
    assert response.status_code == 200, response.text
    data = response.json()["data"]
    assert [one["index"] for one in data] == list(range(len(data)))
    return [one["embedding"] for one in data]


async def test_embedding_as_base64_equals_the_one_as_floats(served: Subject) -> None:
    [floats] = await vectors(served, "a river")
    [text] = await vectors(served, "a river", encoding_format="base64")
    assert array("f", base64.b64decode(str(text))).tolist() == floats


async def test_vectors_have_length_one_and_are_the_same_twice(served: Subject) -> None:
    first, second, other = await vectors(served, ["a river", "a river", "a stone"])
    assert first == second != other
    assert math.isclose(sum(one * one for one in first), 1.0, rel_tol=1e-5)


async def test_embedding_has_the_dimensions_asked_for(served: Subject) -> None:
    [vector] = await vectors(served, "a river", dimensions=12)
    assert len(vector) == 12


@pytest.mark.parametrize(
    ("given", "answers"),
    [("One", 1), (["One", "Two"], 2), pytest.param([1, 2, 3], 1, marks=TOKEN_IDS), pytest.param([[1, 2], [3]], 2, marks=TOKEN_IDS)],
)
async def test_embedding_input_of_every_form_is_answered(served: Subject, given: object, answers: int) -> None:
    assert len(await vectors(served, given)) == answers


async def test_usage_of_an_embedding_counts_its_input_alone(served: Subject) -> None:
    usage = (await served.post("/v1/embeddings", input=["a river", "a stone"])).json()["usage"]
    assert usage["prompt_tokens"] == usage["total_tokens"] > 0


@pytest.mark.parametrize("given", ["", [], [[]]])
async def test_empty_embedding_input_is_refused(served: Subject, given: object) -> None:
    status, error = await served.error("/v1/embeddings", input=given)
    assert (status, error["param"]) == (400, "input")
