"""`penstock up --chaos` under traffic: whatever happens to the workers, every request ends as an answer or as a typed error."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.live.platform import Platform, eventually

CLIENTS = 12
CODES = {"upstream_error", "server_overloaded", "deadline_exceeded", "rate_limit_exceeded", "internal_error"}
HARMS = ["is killed", "is frozen", "is slowed", "is made to send invalid answers"]


@dataclass
class Seen:
    """What the clients were told, by request id."""

    whole: dict[str, int] = field(default_factory=dict)
    """Tokens of those that were answered completely."""
    errors: Counter[str] = field(default_factory=Counter)
    strange: list[str] = field(default_factory=list)


IMPATIENT = {
    "PENSTOCK_UPSTREAM__FIRST_BYTE_SECONDS": "3",
    "PENSTOCK_UPSTREAM__BETWEEN_CHUNKS_SECONDS": "3",
    "PENSTOCK_ROUTING__EJECT_SECONDS": "1",
}
TIMES = [pytest.param(12.0, 0.7, id="bounded"), pytest.param(600.0, 3.0, id="soak", marks=pytest.mark.soak)]


@pytest.mark.parametrize(("seconds", "every"), TIMES)
@pytest.mark.fault(
    "Chaos: workers killed, frozen, slowed, made to send invalid answers",
    "every request ends as an answer or a typed error; ledger equals what clients were told",
)
def test_every_request_ends_well_or_with_a_typed_error_and_is_counted(
    tmp_path: Path, seconds: float, every: float, figure: Callable[[str], None]
) -> None:
    flags = ["--workers", "3", "--chaos", "--chaos-every", str(every), "--chaos-seed", "11"]
    platform = Platform(tmp_path, *flags, environment=IMPATIENT)
    platform.open()
    try:
        seen = asyncio.run(traffic(platform, seconds))
        told = (tmp_path / "log").read_text()
        eventually(lambda: set(seen.whole) <= set(ledger(platform)), 10.0)
        counted = ledger(platform)
    finally:
        platform.close()
    assert seen.strange == []
    assert set(seen.errors) <= CODES
    assert len(seen.whole) > 20 * seconds
    # Each answer that arrived whole is in the ledger once, with the tokens that the client was told.
    assert {name: counted[name] for name in seen.whole} == seen.whole
    assert [harm for harm in HARMS if f" {harm}" in told] != []
    assert re.search(r"chaos:   \+\d+\.\d+ s  sim-\d is \w+", told)
    assert re.search(r"ended after [\d.]+ s; requests: \d+ answered, \d+ retried on another worker, \d+ failed", told)
    figure(f"{len(seen.whole)} answered, {seen.errors.total()} typed errors in {seconds:.0f} s")


async def traffic(platform: Platform, seconds: float) -> Seen:
    seen = Seen()
    headers = {"authorization": f"Bearer {platform.api_key}"}
    async with httpx.AsyncClient(base_url=platform.root, headers=headers, timeout=30, trust_env=False) as http:
        until = asyncio.get_running_loop().time() + seconds
        await asyncio.gather(*(client(http, number, until, seen) for number in range(CLIENTS)))
    return seen


async def client(http: httpx.AsyncClient, number: int, until: float, seen: Seen) -> None:
    turn = 0
    while asyncio.get_running_loop().time() < until:
        turn += 1
        name = f"chaos-{number}-{turn}"
        stream = turn % 2 == 0
        body = {"model": "sim-small", "max_tokens": 8, "messages": [{"role": "user", "content": name}], "stream": stream}
        if stream:
            body["stream_options"] = {"include_usage": True}
        try:
            response = await http.post("/v1/chat/completions", json=body)
        except httpx.HTTPError as error:
            seen.strange.append(f"{name}: {error!r}")
            continue
        note(name, response, stream, seen)


def note(name: str, response: httpx.Response, stream: bool, seen: Seen) -> None:
    if response.status_code != 200 or not stream:
        last = response.json()
    else:
        events = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line.startswith("data: ")]
        last = json.loads(next((event for event in reversed(events) if event != "[DONE]"), "{}"))
        ends = (events[-1:] == ["[DONE]"]) + ("error" in last)
        if ends != 1:
            seen.strange.append(f"{name}: {ends} ends")
            return
    if "error" in last:
        seen.errors[last["error"]["code"]] += 1
    elif "usage" in last:
        seen.whole[response.headers["x-request-id"]] = last["usage"]["total_tokens"]
    else:
        seen.strange.append(f"{name}: {response.status_code} {response.text[:200]}")


def ledger(platform: Platform) -> dict[str, int]:
    """Total tokens of completed requests, by request id; fails for one that is there twice."""
    found: dict[str, int] = {}
    after: str | None = None
    while True:
        page: dict[str, Any] = platform.control.get("/api/usage/records?limit=1000" + (f"&after={after}" if after else ""))
        for row in page["data"]:
            assert row["request_id"] not in found
            found[row["request_id"]] = row["prompt_tokens"] + row["completion_tokens"]
        if not page["has_more"]:
            return found
        after = page["data"][-1]["request_id"]
