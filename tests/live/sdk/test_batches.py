"""Batches through the SDK's own calls."""

import json
import time
from typing import Any

import pytest
from openai import APIStatusError, NotFoundError, OpenAI

from tests.live.sdk.target import Target, Targets

CHAT: Any = "/v1/chat/completions"


@pytest.fixture(scope="module")
def target(targets: Targets) -> Target:
    """One for all: what makes the tokens is nothing to a batch."""
    return targets["sim"]


def line(custom_id: str, url: str = CHAT, **body: Any) -> str:
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body})


def started(client: OpenAI, lines: list[str], endpoint: Any = CHAT) -> Any:
    file = client.files.create(file=("lines.jsonl", "\n".join(lines).encode()), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"test": "yes"})


def until(client: OpenAI, batch: Any, *statuses: str) -> Any:
    deadline = time.monotonic() + 60
    while batch.status not in statuses:
        assert time.monotonic() < deadline, batch
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)
    return batch


def lines_of(client: OpenAI, file_id: str | None) -> dict[str, Any]:
    if file_id is None:
        return {}
    found = [json.loads(text) for text in client.files.content(file_id).text.splitlines()]
    named = {each["custom_id"]: each for each in found}
    assert len(named) == len(found)
    return named


def test_batch_of_mixed_lines_completes_with_output_and_errors(client: OpenAI, target: Target) -> None:
    def hello(number: int) -> Any:
        return {"model": target.model, "max_tokens": 3, "messages": [{"role": "user", "content": f"hello {number}"}]}

    good = [line(f"good-{number}", **hello(number)) for number in range(20)]
    bad = [line("no-model", model="no/such-model", messages=[{"role": "user", "content": "x"}]), line("no-messages", model=target.model)]
    batch = started(client, [*good[:10], *bad, *good[10:]])
    assert (batch.object, batch.status, batch.endpoint, batch.metadata) == ("batch", "validating", CHAT, {"test": "yes"})
    assert batch.id in [each.id for each in client.batches.list(limit=5)]
    over = until(client, batch, "completed", "failed", "expired", "cancelled")
    assert (over.status, over.request_counts.total, over.request_counts.completed, over.request_counts.failed) == ("completed", 22, 20, 2)
    answers, errors = lines_of(client, over.output_file_id), lines_of(client, over.error_file_id)
    assert answers.keys() == {f"good-{number}" for number in range(20)}
    for answer in answers.values():
        assert answer["response"]["status_code"] == 200
        assert answer["response"]["body"]["choices"][0]["message"]["content"]
        assert answer["error"] is None
    assert {name: each["response"]["status_code"] for name, each in errors.items()} == {"no-model": 404, "no-messages": 400}
    assert errors["no-model"]["response"]["body"]["error"]["code"] == "model_not_found"
    output = client.files.retrieve(over.output_file_id)
    assert (output.purpose, output.filename) == ("batch_output", f"{over.id}_output.jsonl")


def test_a_batch_of_embeddings(client: OpenAI, target: Target) -> None:
    lines = [line(str(number), "/v1/embeddings", model=target.model, input=["a", "b"], dimensions=4) for number in range(3)]
    over = until(client, started(client, lines, "/v1/embeddings"), "completed", "failed")
    assert over.model == target.model
    assert [len(each["response"]["body"]["data"]) for each in lines_of(client, over.output_file_id).values()] == [2, 2, 2]


def test_a_file_that_is_no_batch(client: OpenAI, target: Target) -> None:
    body: Any = {"model": target.model, "messages": []}
    lines = [line("a", **body), "{broken", line("a", **body), line("b", "/v1/embeddings", **body)]
    over = until(client, started(client, lines), "failed", "completed")
    assert over.status == "failed"
    assert [(fault.code, fault.line) for fault in over.errors.data] == [
        ("invalid_json_line", 2),
        ("duplicate_custom_id", 3),
        ("mismatched_url", 4),
    ]
    assert (over.output_file_id, over.error_file_id) == (None, None)


def test_a_batch_is_cancelled(client: OpenAI, target: Target) -> None:
    many: Any = {"model": target.model, "messages": [{"role": "user", "content": "x"}], "max_tokens": 400, "ignore_eos": True}
    batch = started(client, [line(str(number), **many) for number in range(300)])
    until(client, batch, "in_progress")
    assert client.batches.cancel(batch.id).status == "cancelling"
    over = until(client, batch, "cancelled")
    answers, errors = lines_of(client, over.output_file_id), lines_of(client, over.error_file_id)
    assert answers.keys() | errors.keys() == {str(number) for number in range(300)}
    assert not answers.keys() & errors.keys()
    assert len(errors) > 0
    with pytest.raises(APIStatusError) as raised:
        client.batches.cancel(batch.id)
    assert raised.value.status_code == 409


def test_request_for_a_batch_that_cannot_be_made_is_refused(client: OpenAI) -> None:
    with pytest.raises(NotFoundError):
        client.batches.retrieve("batch_nothing")
    with pytest.raises(NotFoundError) as raised:
        client.batches.create(input_file_id="file-nothing", endpoint=CHAT, completion_window="24h")
    assert raised.value.param == "input_file_id"
    file = client.files.create(file=("notes.txt", b"x"), purpose="user_data")
    wrong: list[Any] = [
        {"input_file_id": file.id},
        {"endpoint": "/v1/images/generations"},
        {"completion_window": "1h"},
        {"metadata": {"k": "v" * 513}},
    ]
    for fields in wrong:
        with pytest.raises(APIStatusError) as refused:
            client.batches.create(**{"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h", **fields})
        assert (refused.value.status_code, refused.value.param) == (400, next(iter(fields)) if "metadata" not in fields else "metadata.k")
