"""What `/api/usage` says that requests cost, against arithmetic by hand: every tier, the class batch, and what a crash cut off.

The whole gateway, a worker of ours with the simulated engine, prices through the API. Nothing here calls the product's own pricing.
"""

import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx

from penstock.app.runner import OwnRunner
from tests.support.gateway import CHAT, Platform, platform, sim_worker
from tests.support.postgres import sqlite_only
from tests.support.waiting import until_answer

MODEL = "sim-small"
IN, CACHED, OUT = 3_210_000, 1_070_000, 7_770_000
"""Micro-units for a million tokens: 3.21, 1.07 and 7.77 of the currency."""
PERCENT = {"default": 100, "priority": 165, "flex": 45, "scale": 100}
BATCH_PERCENT = 35
PROMPT = "What does a litre of water weigh, and why is it so?"
SECONDS = 20.0


def by_hand(prompt: int, completion: int, percent: int) -> int:
    """Micro-units, half of one rounded up; the simulated engine caches nothing."""
    exact = Fraction(prompt * IN + completion * OUT, 1_000_000) * Fraction(percent, 100)
    return int(exact + Fraction(1, 2))


def chat(max_tokens: int, **fields: Any) -> dict[str, Any]:
    """Makes that many tokens exactly."""
    messages = [{"role": "user", "content": PROMPT}]
    return {"model": MODEL, "messages": messages, "max_tokens": max_tokens, "ignore_eos": True, **fields}


@contextlib.asynccontextmanager
async def priced_platform(directory: Path, **engine: str) -> AsyncIterator[Platform]:
    """With one worker, and a price on its model that is in force."""
    async with platform(directory / "data") as running, sim_worker(running, directory / "worker", **engine):
        price = {"input_per_million": IN, "cached_input_per_million": CACHED, "output_per_million": OUT, "batch_percent": BATCH_PERCENT}
        price |= {"priority_percent": PERCENT["priority"], "flex_percent": PERCENT["flex"]}
        answer = await running.http.put(f"/api/models/{MODEL}", json={"price": price})
        assert answer.status_code == 200, answer.text
        await running.gateway.changes.ask()
        yield running


async def usage(running: Platform, group_by: str) -> list[dict[str, Any]]:
    """The rows of the report, once the ledger has everything."""
    await running.gateway.journal.flush()
    answer = await running.http.get("/api/usage", params={"group_by": group_by})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["totals"]["cost_micros"] == sum(row["cost_micros"] for row in body["data"])
    rows: list[dict[str, Any]] = body["data"]
    return rows


async def tokens_of(running: Platform, body: dict[str, Any]) -> tuple[int, int]:
    """What its client was told that it used."""
    answer = await running.http.post(CHAT, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["service_tier"] == body["service_tier"]
    told = answer.json()["usage"]
    return told["prompt_tokens"], told["completion_tokens"]


async def test_cost_of_every_tier_and_of_batch_in_the_report_equals_the_cost_by_hand(tmp_path: Path) -> None:
    async with priced_platform(tmp_path, speed="inf") as running:
        expected: dict[tuple[str, str], int] = {}
        for number, (tier, percent) in enumerate(PERCENT.items(), start=1):
            prompt, completion = await tokens_of(running, chat(10 * number, service_tier=tier))
            assert (prompt > 0, completion) == (True, 10 * number)
            expected["enterprise", tier] = by_hand(prompt, completion, percent)
        assert len(set(expected.values())) == len(PERCENT), "two of them cost the same, so that one could stand for the other"
        prompt, completion, tier = await in_a_batch(running, chat(50, service_tier="priority"))
        assert (prompt > 0, completion) == (True, 50)
        expected["batch", tier] = by_hand(prompt, completion, BATCH_PERCENT)
        rows = await usage(running, "class,tier")
        assert {(row["service_class"], row["service_tier"]): row["cost_micros"] for row in rows} == expected


async def in_a_batch(running: Platform, body: dict[str, Any]) -> tuple[int, int, str]:
    """Prompt tokens, completion tokens and the tier that served it, of one request of the class batch: a task, run to its end."""
    runner = OwnRunner(running.gateway.settings, running.gateway.task_services)
    await runner.open()
    runner.start()
    try:
        task = {"kind": "inference", "payload": {"url": CHAT, "body": body}}
        submitted = await running.http.post("/api/tasks", json={"tasks": [task]})
        assert submitted.status_code == 201, submitted.text
        task_id = submitted.json()["data"][0]["id"]
        answered = await until_answer(
            lambda: running.http.get(f"/api/tasks/{task_id}"), lambda got: got.json()["status"] in ("succeeded", "failed"), SECONDS
        )
        shown = answered.json()
        assert shown["status"] == "succeeded", shown
    finally:
        await runner.close()
    answer = shown["result"]["body"]
    return answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"], answer["service_tier"]


async def test_streams_cut_off_by_a_crash_cost_their_delivered_tokens_at_the_tier_served(tmp_path: Path) -> None:
    """A second gateway starts from the data directory, copied in mid-stream: it is what a `kill -9` leaves."""
    sqlite_only("the store is copied with the directory")
    async with priced_platform(tmp_path, speed="20") as running, contextlib.AsyncExitStack() as stack:
        delivered = {tier: await stack.enter_async_context(cut_stream(running, tier)) for tier in ("default", "priority", "flex")}
        await running.gateway.journal.flush()
        shutil.copytree(tmp_path / "data", tmp_path / "crashed")
        headers = running.authorization
    async with platform(tmp_path / "crashed") as recovered:
        recovered.http.headers.update(headers)
        await recovered.gateway.journal.flushed.until(lambda: recovered.gateway.journal.backlog == 0)
        answer = await recovered.http.get("/api/usage/records")
        records = {row["service_tier"]: row for row in answer.json()["data"]}
        assert records.keys() == delivered.keys()
        for tier, record in records.items():
            assert (record["outcome"], record["prompt_tokens"] > 0, record["completion_tokens"] >= delivered[tier]) == (
                "recovered",
                True,
                True,
            )
            assert record["cost_micros"] == by_hand(record["prompt_tokens"], record["completion_tokens"], PERCENT[tier])
        rows = await usage(recovered, "tier")
        assert {row["service_tier"]: row["cost_micros"] for row in rows} == {tier: row["cost_micros"] for tier, row in records.items()}


@contextlib.asynccontextmanager
async def cut_stream(running: Platform, tier: str) -> AsyncIterator[int]:
    """How many tokens of an endless stream its client has seen; it goes on until the end of the block."""
    async with running.http.stream("POST", CHAT, json=chat(20_000, service_tier=tier, stream=True)) as answer:
        assert answer.status_code == 200
        lines = answer.aiter_lines()  # kept: the connection closes with it
        seen = 0
        while seen < 5:
            line = await anext(lines)
            if line.startswith("data: ") and json.loads(line.removeprefix("data: "))["choices"][0]["delta"].get("content"):
                seen += 1
        yield seen


async def test_model_without_a_price_costs_nothing(tmp_path: Path) -> None:
    async with platform(tmp_path / "data") as running, sim_worker(running, tmp_path / "worker", speed="inf"):
        answer: httpx.Response = await running.http.post(CHAT, json=chat(5))
        assert answer.json()["usage"]["completion_tokens"] == 5
        assert [(row["completion_tokens"], row["cost_micros"]) for row in await usage(running, "tier")] == [(5, 0)]
