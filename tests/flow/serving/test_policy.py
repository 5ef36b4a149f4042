"""A policy comes into force on gateways that are busy: within a second, without a restart, and nobody who waits is lost."""

import asyncio
import os
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import httpx
from typer.testing import CliRunner

from penstock.cli.main import app
from penstock.domain.ports import Store
from penstock.domain.principal import Principal, Scope, ServiceClass, SystemActor
from penstock.storage.stores import make_store
from tests.support import postgres
from tests.support.gateway import CHAT, Client, Platform, platform, reply, scripted
from tests.support.waiting import until

IN_FORCE_SECONDS = 1.0


async def customer(one: Platform, plan: str) -> httpx.AsyncClient:
    """A client of a new organisation on that plan."""
    admin = Principal("", SystemActor("test"), (await one.gateway.store.accounts.plans())[0], frozenset(Scope))
    org = await one.gateway.accounts.create_organisation(admin, plan, plan)
    _, key = await one.gateway.accounts.create_key(admin, name="test", org_id=org.id)
    return httpx.AsyncClient(base_url=one.gateway.base_url, headers={"authorization": f"Bearer {key}"}, timeout=30, trust_env=False)


async def put(one: Platform, policy: dict[str, Any]) -> dict[str, Any]:
    answer = await one.http.put("/api/policy", json={"policy": policy})
    assert answer.status_code == 200, answer.text
    edit: dict[str, Any] = answer.json()
    return edit


async def until_followed(version: int, *platforms: Platform) -> None:
    """All of them at once: each has `IN_FORCE_SECONDS` from now."""
    await asyncio.gather(*(_followed(version, one) for one in platforms))


async def _followed(version: int, one: Platform) -> None:
    await one.gateway.changes.followed.until(lambda: one.gateway.metrics.policy_version == version, IN_FORCE_SECONDS)


async def hold(client: Client) -> None:
    await client.go.wait()
    await client.answer(200, reply())


async def test_weights_change_under_those_who_wait(tmp_path: Path) -> None:
    async with scripted(hold) as (server,), platform(tmp_path, [{"model": "scripted", "url": server.url, "slots": 1}]) as one:
        free, premium = await customer(one, "free"), await customer(one, "premium")
        wide = {name: part | {"concurrency": 100} for name, part in (await one.http.get("/api/policy")).json()["policy"]["plans"].items()}
        await put(one, {"plans": wide, "pools": {"priority_reserve": 0}})
        await until_followed(1, one)

        def ask(who: httpx.AsyncClient, name: str) -> asyncio.Task[httpx.Response]:
            return asyncio.create_task(who.post(CHAT, json=one.body(user=name, max_tokens=16)))

        tasks = [ask(free, "first")]
        await server.arrived.until(lambda: server.requests)
        tasks += [ask(who, name) for _ in range(10) for who, name in ((free, "free"), (premium, "premium"))]
        (queue,) = one.gateway.deps.queues.values()
        await until(lambda: len(queue) == 20)

        began = time.monotonic()
        await put(one, {"plans": wide, "pools": {"priority_reserve": 0}, "classes": {"free": {"weight": 512}, "premium": {"weight": 64}}})
        await until_followed(2, one)
        assert time.monotonic() - began < IN_FORCE_SECONDS
        assert len(queue) == 20, "who waits goes on waiting"
        for count in range(1, 22):
            await server.arrived.until(lambda count=count: len(server.requests) == count)  # type: ignore[misc]  # bound at once
            server.requests[-1].go.set()
        answers = await asyncio.gather(*tasks)
        assert {answer.status_code for answer in answers} == {200}
        order = [client.json["user"] for client in server.requests[1:]]
        assert order[:11].count("free") >= 9, f"eight to one from then on, and not one to four: {order}"
        await one.until_quiet()
        await free.aclose()
        await premium.aclose()


async def test_every_gateway_of_a_store_follows_within_a_second(tmp_path: Path) -> None:
    with postgres.database() as url:

        def store(_: object) -> Store:
            return make_store(url, secret_key=b"of both")

        secret = {"secret_key": "of both"}
        async with platform(tmp_path / "a", store=store, **secret) as one, platform(tmp_path / "b", store=store, **secret) as other:
            for version, weight in ((1, 40), (2, 50)):
                began = time.monotonic()
                await put(one, {"classes": {"free": {"weight": weight}}})
                await until_followed(version, one, other)
                assert time.monotonic() - began < IN_FORCE_SECONDS
                assert [each.gateway.deps.queue_rules.weights[ServiceClass.FREE] for each in (one, other)] == [weight, weight]


async def test_a_plans_new_limits_and_tiers_hold_for_keys_that_were_seen(tmp_path: Path) -> None:
    async with scripted(hold) as (server,), platform(tmp_path, [server.url]) as one:
        free = await customer(one, "free")
        assert (await free.post(CHAT, json=one.body(service_tier="priority"))).status_code == 403
        plans = (await one.http.get("/api/policy")).json()["policy"]["plans"]
        plans["free"] |= {"tiers": ["default", "priority"], "requests_per_minute": 7}
        await put(one, {"plans": plans})
        await until_followed(1, one)
        task = asyncio.create_task(free.post(CHAT, json=one.body(service_tier="priority")))
        await server.arrived.until(lambda: server.requests)
        server.requests[-1].go.set()
        answer = await task
        assert (answer.json()["service_tier"], answer.headers["x-ratelimit-limit-requests"]) == ("priority", "7")
        await free.aclose()


async def test_a_tier_leads_to_other_pools(tmp_path: Path) -> None:
    """Flex into the standard pool: with half of the slots idle it would be refused in the overflow pool."""
    async with scripted(hold) as (server,), platform(tmp_path, [{"model": "scripted", "url": server.url, "slots": 2}]) as one:
        await put(one, {"pools": {"overflow_reserve": 1}})
        await until_followed(1, one)
        refused = await one.chat(service_tier="flex")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "resource_unavailable")
        await put(one, {"pools": {"overflow_reserve": 1}, "tiers": {"flex": {"pools": ["overflow", "standard"]}}})
        await until_followed(2, one)
        task = asyncio.create_task(one.chat(service_tier="flex"))
        await server.arrived.until(lambda: server.requests)
        server.requests[-1].go.set()
        answer = await task
        assert (answer.json()["service_tier"], answer.headers["x-penstock-pool"]) == ("flex", "standard")
        assert [(each.status, each.service_tier) for each in await one.records()] == [(200, "flex")], "what was refused is not billed"


async def test_a_model_is_routed_by_another_policy_and_shadowed(tmp_path: Path) -> None:
    async with scripted(hold, hold) as servers, platform(tmp_path, [server.url for server in servers]) as one:
        (serving,) = one.gateway.workers.servings()
        assert serving.choice.name == "power_of_two"
        await put(one, {"routing": {"shadow": "least_requests"}, "models": {"scripted": {"policy": "round_robin"}}})
        await until_followed(1, one)
        assert (serving.choice.name, serving.choice.shadow_name) == ("round_robin", "least_requests")
        await put(one, {})
        await until_followed(2, one)
        assert (serving.choice.name, serving.choice.shadow_name) == ("power_of_two", "")


async def test_the_command_line_applies_shows_and_goes_back(tmp_path: Path) -> None:
    async with platform(tmp_path / "gateway") as one:
        ours = {"BASE_URL": one.gateway.base_url, "API_KEY": one.first.api_key, "PROFILE": str(tmp_path / "profiles")}
        environment = os.environ | {f"PENSTOCK_{name}": value for name, value in ours.items()}

        async def penstock(*arguments: str) -> tuple[int | None, str, str]:
            """As a process of its own: in this one the gateway's log would be between its lines."""
            pipe = asyncio.subprocess.PIPE
            command = [sys.executable, "-m", "penstock", *arguments]
            process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
            out, err = await process.communicate()
            return process.returncode, out.decode(), err.decode()

        file = tmp_path / "policy.toml"
        file.write_text('[classes.free]\nweight = 64\n[models."a/b.c"]\npolicy = "round_robin"\n')
        changes = '~ classes.free.weight: 32 -> 64\n+ models."a/b.c".policy = round_robin\n'
        code, out, err = await penstock("apply", str(file), "--dry-run")
        assert (code, out, "dry run" in err) == (0, changes, True)
        code, out, err = await penstock("apply", str(file), "-m", "more for free")
        assert (code, out, "version 1 is in force" in err) == (0, changes, True)
        await until_followed(1, one)
        file.write_text((await penstock("policy", "show", "--toml"))[1])
        assert tomllib.loads(file.read_text())["classes"]["free"]["weight"] == 64
        assert "has the same content already" in (await penstock("apply", str(file)))[2]
        code, _, err = await penstock("apply", str(file), "--if-version", "0")
        assert (code, "at version 1, not 0" in err) == (1, True)
        assert (await penstock("policy", "diff", "0"))[1] == changes
        assert (await penstock("policy", "rollback", "0"))[1].startswith("~ classes.free.weight: 64 -> 32\n")
        assert "more for free" in (await penstock("policy", "versions"))[1]


def test_every_mistake_in_a_file_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[classes.free]\nweight = "64"\n[nothing]\n')
    result = CliRunner().invoke(app, ["apply", str(file), "--base-url", "http://127.0.0.1:9", "--api-key", "none"])
    assert result.exit_code == 2
    assert "classes.free.weight: Input should be a number" in result.stderr
    assert "nothing: Extra inputs" in result.stderr
