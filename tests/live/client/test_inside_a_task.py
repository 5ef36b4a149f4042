"""Code inside a task: it submits more tasks and calls a model with its own key, which ends with its attempt."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import penstock
from tests.support.running import Running, penstock_up
from tests.support.waiting import until

_JOBS = """
import os
import urllib.request

import penstock


@penstock.task("square")
def square(number: int) -> int:
    return number * number


@penstock.task("sum_of_squares")
def sum_of_squares(numbers: list) -> int:
    handles = [square.submit(number) for number in numbers]
    return sum(handle.result(60) for handle in handles)


@penstock.task("sum_of_squares_async")
async def sum_of_squares_async(numbers: list) -> int:
    async with penstock.AsyncClient() as client:
        requests = [square.options(tags=["inner"]).request(number) for number in numbers]
        return sum(await client.tasks.results(await client.tasks.submit_many(requests), 60))


@penstock.task("my_key")
def my_key() -> str:
    assert "PENSTOCK_API_KEY" not in os.environ
    return penstock.current().api_key


@penstock.task("status_of")
def status_of(path: str) -> int:
    request = urllib.request.Request(penstock.current().base_url.removesuffix("/v1") + path)
    request.add_header("authorization", "Bearer " + penstock.current().api_key)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@penstock.task("asks_a_model")
def asks_a_model(question: str) -> str:
    from openai import OpenAI

    with OpenAI(base_url=penstock.current().base_url, api_key=penstock.current().api_key) as model:
        answer = model.chat.completions.create(model="sim-small", messages=[{"role": "user", "content": question}], max_tokens=4)
        return answer.choices[0].message.content
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("inside")
    (directory / "inner_jobs.py").write_text(_JOBS)
    path = f"{directory}:{Path(penstock.__file__).parents[1]}"
    with penstock_up(directory, ["--import", "inner_jobs"], PYTHONPATH=path) as running:
        yield running


@pytest.fixture
def client(platform: Running) -> Iterator[penstock.Client]:
    with penstock.Client(platform.base_url, platform.api_key) as client:
        yield client


@pytest.mark.parametrize("name", ["sum_of_squares", "sum_of_squares_async"])
def test_a_task_submits_children_and_waits_for_them(client: penstock.Client, name: str) -> None:
    assert client.tasks.submit(name, [[1, 2, 3]]).result(90) == 14


async def test_a_task_calls_a_model_as_its_submitter(client: penstock.Client, platform: Running) -> None:
    before = _requests(platform)
    assert client.tasks.submit("asks_a_model", ["How deep is the sea?"]).result(90)
    await until(lambda: _requests(platform) == before + 1, 15.0)


def _requests(platform: Running) -> int:
    """Of the submitter's key, as the ledger has them: a moment after their end."""
    headers = {"authorization": f"Bearer {platform.api_key}"}
    answer = httpx.get(f"{platform.base_url.removesuffix('/v1')}/api/usage", params={"group_by": "key"}, headers=headers)
    return sum(row["requests"] for row in answer.json()["data"])


def test_a_task_may_not_administer(client: penstock.Client) -> None:
    assert client.tasks.submit("status_of", ["/api/tasks"]).result(60) == 200
    assert client.tasks.submit("status_of", ["/api/usage"]).result(60) == 403
    assert client.tasks.submit("status_of", ["/api/join-tokens"]).result(60) == 403


def test_the_key_of_a_task_ends_with_its_attempt(client: penstock.Client, platform: Running) -> None:
    key = client.tasks.submit("my_key").result(60)
    with penstock.Client(platform.base_url, key) as former, pytest.raises(penstock.ApiError, match="has ended") as refused:
        former.tasks.submit("square", [2])
    assert refused.value.status == 401
