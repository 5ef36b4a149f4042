"""What a new user does on the first day, with the commands and the SDK, on either store."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.live.platform import Platform, eventually, ready_workers
from tests.support.postgres import database

ASK: list[Any] = [{"role": "user", "content": "What is a penstock?"}]
MODEL = "sim-small"
SUMS = ("requests", "prompt_tokens", "completion_tokens")


@pytest.fixture(params=["sqlite", "postgresql"])
def platform(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Platform]:
    with ExitStack() as stack:
        store = ("--store", stack.enter_context(database())) if request.param == "postgresql" else ()
        platform = Platform(tmp_path, *store)
        stack.callback(platform.close)
        platform.open()
        yield platform


def test_from_the_first_start_over_a_restart(platform: Platform) -> None:
    key = _command(platform, "keys", "create", "my first program")
    with _client(platform, key["secret"]) as client:
        used = _use(client)
    eventually(lambda: _usage(platform, key["id"]) == used, 5.0, lambda: f"{_usage(platform, key['id'])} is not {used}")
    _chat_through_a_pipe(platform)

    _revoke(platform)
    _drain_with_a_stream(platform)

    before = dict(platform.facts)
    platform.open()
    assert platform.facts == {**before, "base_url": platform.base_url, "dashboard_url": platform.facts["dashboard_url"]}
    assert _usage(platform, key["id"]) == used
    assert ready_workers(platform.control) == {"sim-1", "sim-2"}
    with _client(platform, key["secret"]) as client:
        assert client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=2).usage


def _use(client: OpenAI) -> dict[str, int]:
    """Requests of every kind, and the sum of what the answers say that they used."""
    options: Any = {"include_usage": True}
    usages: list[Any] = [client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=5 + number).usage for number in range(4)]
    usages.append(client.completions.create(model=MODEL, prompt="The gate", max_tokens=3, n=2).usage)
    usages.append(client.embeddings.create(model=MODEL, input=["a", "b"]).usage)
    *_, last = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=9, stream=True, stream_options=options)
    usages.append(last.usage)
    prompt = sum(usage.prompt_tokens for usage in usages)
    return {"requests": len(usages), "prompt_tokens": prompt, "completion_tokens": sum(usage.total_tokens for usage in usages) - prompt}


def _usage(platform: Platform, key_id: str) -> dict[str, int]:
    totals = _command(platform, "usage", "--by", "key", "--key", key_id)["totals"]
    assert totals["estimated_requests"] == 0
    return {name: totals[name] for name in SUMS}


def _chat_through_a_pipe(platform: Platform) -> None:
    answer = platform.run("chat", "--model", MODEL, "--max-tokens", "7", stdin="What is a penstock?\n")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert len(answer.stdout.split()) > 3
    again = _command(platform, "chat", "--model", MODEL, "--max-tokens", "7", stdin="What is a penstock?\n")
    assert again["text"].strip() == answer.stdout.strip()


def _revoke(platform: Platform) -> None:
    key = _command(platform, "keys", "create", "a program that leaks its key")
    with _client(platform, key["secret"]) as client:
        client.models.list()
        assert platform.run("keys", "revoke", key["id"]).returncode == 0
        eventually(lambda: _refused(client), 1.0, lambda: "a revoked key still works")


def _refused(client: OpenAI) -> bool:
    try:
        client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=1)
    except openai.AuthenticationError:
        return True
    return False


def _drain_with_a_stream(platform: Platform) -> None:
    """SIGTERM while a stream runs: it gets to its end, newcomers are turned away, the process ends with 0."""
    with _client(platform, platform.api_key) as client:
        extra = {"ignore_eos": True}
        stream = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=200, stream=True, extra_body=extra)
        first = next(iter(stream))
        platform.begin_to_stop()
        eventually(lambda: _turned_away(platform), 5.0, lambda: "a gateway that stops still takes requests")
        rest = list(stream)
    text = [choice.delta.content for chunk in (first, *rest) for choice in chunk.choices if choice.delta.content]
    assert (len(text), rest[-1].choices[0].finish_reason) == (200, "length")
    platform.close()


def _turned_away(platform: Platform) -> bool:
    try:
        with _client(platform, platform.api_key) as newcomer:
            newcomer.models.list()
    except (openai.APIConnectionError, openai.InternalServerError):
        return True
    return False


def _client(platform: Platform, api_key: str) -> OpenAI:
    return OpenAI(base_url=platform.base_url, api_key=api_key, max_retries=0, timeout=30)


def _command(platform: Platform, *arguments: str, stdin: str = "") -> Any:
    done = platform.run(*arguments, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
