"""Two gateways on one PostgreSQL store: what one is told, the other knows within a second."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.live.platform import Control, Platform, eventually, ready_workers, running
from tests.support.postgres import database

ASK: list[Any] = [{"role": "user", "content": "Left or right?"}]
MODEL = "sim-small"
KNOWN_SECONDS = 1.0


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, Platform]]:
    """One with workers and one that meets the same workers through the store."""
    directory = tmp_path_factory.mktemp("two")
    with ExitStack() as stack:
        store = stack.enter_context(database())
        shared = {"PENSTOCK_FILES__DIRECTORY": str(directory / "files")}
        first = stack.enter_context(running(Platform(directory / "first", "--store", store, "--workers", "1", environment=shared)))
        second = stack.enter_context(running(Platform(directory / "second", "--store", store, command="gateway", environment=shared)))
        # Only the very first start of a store shows secrets.
        assert set(second.facts) == {"base_url", "dashboard_url"}
        second.facts["api_key"] = first.api_key
        eventually(lambda: ready_workers(second.control) == {"sim-1"}, 10.0)
        yield first, second


def test_a_key_made_on_one_works_on_the_other(gateways: tuple[Platform, Platform]) -> None:
    for one, other in (gateways, gateways[::-1]):
        secret = one.control.post("/api/keys", {"name": "new"})["secret"]
        eventually(partial(_works, other, secret), KNOWN_SECONDS)


def test_a_key_revoked_on_one_is_refused_by_the_other(gateways: tuple[Platform, Platform]) -> None:
    for one in gateways:
        key = one.control.post("/api/keys", {"name": "old"})
        assert all(_works(each, key["secret"]) for each in gateways)
        one.control.delete(f"/api/keys/{key['id']}")
        eventually(partial(_refused_by_all, gateways, key["secret"]), KNOWN_SECONDS)


def test_a_batch_is_started_on_one_and_read_from_the_other(gateways: tuple[Platform, Platform]) -> None:
    body = {"model": MODEL, "messages": ASK, "max_tokens": 2}
    lines = [json.dumps({"custom_id": f"{at}", "method": "POST", "url": "/v1/chat/completions", "body": body}) for at in range(40)]
    first, second = (OpenAI(base_url=each.base_url, api_key=gateways[0].api_key, max_retries=0) for each in gateways)
    with first, second:
        file = first.files.create(file=("lines.jsonl", "\n".join(lines).encode()), purpose="batch")
        made = second.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        over: Any = eventually(lambda: found if (found := first.batches.retrieve(made.id)).status == "completed" else None, 30.0)
        for one in (first, second):
            answers = [json.loads(text)["custom_id"] for text in one.files.content(over.output_file_id).text.splitlines()]
            assert sorted(answers, key=int) == [str(at) for at in range(40)]


def test_usage_of_both_is_one_ledger(gateways: tuple[Platform, Platform]) -> None:
    key = gateways[0].control.post("/api/keys", {"name": "counted"})
    tokens = sum(_answer(each, key["secret"]) for each in gateways for _ in range(3))

    def counted(control: Control) -> bool:
        totals = control.get(f"/api/usage?key={key['id']}")["totals"]
        return bool((totals["requests"], totals["prompt_tokens"] + totals["completion_tokens"]) == (6, tokens))

    for each in gateways:
        eventually(partial(counted, each.control), 5.0)


def test_a_new_alias_is_known_to_both(gateways: tuple[Platform, Platform]) -> None:
    gateways[0].control.ask("PUT", f"/api/models/{MODEL}", {"aliases": ["acme/left-or-right"]})
    for each in gateways:
        eventually(partial(_has_alias, each, "acme/left-or-right"), KNOWN_SECONDS)
        with _client(each, each.api_key) as client:
            assert client.chat.completions.create(model="acme/left-or-right", messages=ASK, max_tokens=1).model == MODEL


def _works(gateway: Platform, api_key: str) -> bool:
    try:
        _answer(gateway, api_key)
    except openai.AuthenticationError:
        return False
    return True


def _answer(gateway: Platform, api_key: str) -> int:
    """Tokens used by one request."""
    with _client(gateway, api_key) as client:
        usage = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=2).usage
    assert usage is not None
    return usage.total_tokens


def _refused_by_all(gateways: tuple[Platform, ...], api_key: str) -> bool:
    return not any(_works(each, api_key) for each in gateways)


def _has_alias(gateway: Platform, alias: str) -> bool:
    with _client(gateway, gateway.api_key) as client:
        return any(alias in (model.model_extra or {})["aliases"] for model in client.models.list())


def _client(gateway: Platform, api_key: str) -> OpenAI:
    return OpenAI(base_url=gateway.base_url, api_key=api_key, max_retries=0, timeout=30)
