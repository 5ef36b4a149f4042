"""Bodies that cost much to read are paid for by who sends them: on the fast lane and for `/v1/responses`."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from penstock.domain.principal import Plan
from tests.support.gateway import MODEL, Platform, platform


async def key_of_plan(open_one: Platform, **limits: int) -> dict[str, str]:
    """The headers of a new organisation's key, whose plan has these limits."""
    accounts = open_one.gateway.store.accounts
    free = next(plan for plan in await accounts.plans() if plan.name == "free")
    plan: Plan = replace(free, name="tight", **limits)  # type: ignore[arg-type]  # limits are integers
    await accounts.save_plan(plan)
    org = (await open_one.http.post("/api/orgs", json={"name": "tight", "plan": "tight"})).json()["id"]
    made = await open_one.http.post("/api/keys", json={"name": "k", "scopes": ["inference"], "org_id": org})
    return {"authorization": f"Bearer {made.json()['secret']}", "content-type": "application/json"}


NONSENSE = b'{"model":"' + MODEL.encode() + b'"' + b',"a":1' * 100_000 + b"}"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"])
async def test_nonsense_counts_against_requests_a_minute(path: str, tmp_path: Path) -> None:
    async with platform(tmp_path, store=None) as open_one:
        headers = await key_of_plan(open_one, requests_per_minute=3)
        answers: list[httpx.Response] = []
        for _ in range(5):
            answers.append(await open_one.http.post(path, content=NONSENSE, headers=headers))  # noqa: PERF401 - one after the other
        assert [answer.status_code for answer in answers] == [400, 400, 400, 429, 429]
        assert "fields" in answers[0].json()["error"]["message"]
        assert answers[4].headers["x-ratelimit-remaining-requests"] == "0"
        assert answers[4].headers["retry-after"]


async def test_answer_of_the_responses_api_counts_as_one_request(tmp_path: Path) -> None:
    async with platform(tmp_path) as open_one:
        headers = await key_of_plan(open_one, requests_per_minute=5)
        answers = [await open_one.http.post("/v1/responses", json={"model": "none", "input": "x"}, headers=headers) for _ in range(3)]
        assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["4", "3", "2"]
