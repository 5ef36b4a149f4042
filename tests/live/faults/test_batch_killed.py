"""`kill -9` of `penstock up` in the middle of a batch, twice: it goes on by itself, and each line is answered once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.live.platform import Platform, eventually, running

LINES = 400
KILLS = 2
SECONDS = 60.0


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    one = Platform(tmp_path, "--workers", "1", doomed=True)
    with running(one):
        yield one


def content() -> bytes:
    lines = []
    for number in range(LINES):
        model = "no/such-model" if number % 10 == 7 else "sim-small"
        body = {"model": model, "max_tokens": 2, "messages": [{"role": "user", "content": f"line {number}"}]}
        lines.append(json.dumps({"custom_id": f"line-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}))
    return "\n".join(lines).encode()


def client(platform: Platform) -> OpenAI:
    return OpenAI(base_url=platform.base_url, api_key=platform.api_key, max_retries=0, timeout=30)


def names(own: OpenAI, file_id: str | None) -> list[str]:
    assert file_id is not None
    return [json.loads(text)["custom_id"] for text in own.files.content(file_id).text.splitlines()]


@pytest.mark.fault("`kill -9` of `penstock up` in the middle of a batch", "it goes on by itself, and each line is answered once")
def test_a_batch_outlives_the_platform(platform: Platform) -> None:
    with client(platform) as own:
        file = own.files.create(file=("lines.jsonl", content()), purpose="batch")
        batch: Any = own.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    for number in range(KILLS):
        least = LINES * (number + 1) // 5
        with client(platform) as own:
            eventually(lambda: done(own, batch.id) >= least, SECONDS, lambda: f"{own.batches.retrieve(batch.id)}")  # noqa: B023 - called at once
        platform.kill()
        platform.open()
    with client(platform) as own:
        over: Any = eventually(lambda: completed(own, batch.id), SECONDS, lambda: f"{own.batches.retrieve(batch.id)}")
        answers, errors = names(own, over.output_file_id), names(own, over.error_file_id)
    bad = {f"line-{number}" for number in range(7, LINES, 10)}
    assert sorted(errors) == sorted(bad)
    assert sorted(answers) == sorted({f"line-{number}" for number in range(LINES)} - bad)
    assert (over.request_counts.total, over.request_counts.completed, over.request_counts.failed) == (LINES, LINES - len(bad), len(bad))


def done(own: OpenAI, batch_id: str) -> int:
    counts = own.batches.retrieve(batch_id).request_counts
    return 0 if counts is None else counts.completed + counts.failed


def completed(own: OpenAI, batch_id: str) -> Any:
    found = own.batches.retrieve(batch_id)
    assert found.status in ("validating", "in_progress", "finalizing", "completed"), found
    return found if found.status == "completed" else None
