"""Decisions over HTTP: a real gateway, two organisations, and what each of them may see."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from urllib.parse import quote

import httpx

from penstock.cli.exits import ExitCode
from penstock.domain.principal import Principal, Scope, SystemActor
from tests.support.gateway import CHAT, Client, Platform, platform, reply, scripted, well
from tests.support.waiting import until, until_answer

GRAMMAR = re.compile(
    r"(?P<id>req_[0-9a-f]+);class=[a-z]+"
    r"(;pool=(priority|standard|overflow);policy=[a-z_]+;worker=[^;]+;wait=\d+(\.\d{3})?;tries=\d+|;queued|;replayed"
    r"|;refused=[a-z_]+;wait=\d+\.\d{3};tries=\d+)"
)


def decision_id(answer: httpx.Response) -> str:
    found = GRAMMAR.fullmatch(answer.headers["x-penstock-decision"])
    assert found, answer.headers["x-penstock-decision"]
    return found["id"]


async def another_key(gate: Platform, *scopes: Scope) -> dict[str, str]:
    """Of another organisation."""
    gateway = gate.gateway
    plan = next(plan for plan in await gateway.store.accounts.plans() if plan.name == "free")
    admin = Principal("", SystemActor("test"), plan, frozenset(Scope))
    org = await gateway.accounts.create_organisation(admin, "another", "free")
    _, key = await gateway.accounts.create_key(admin, name="test", org_id=org.id, scopes=frozenset(scopes))
    return {"authorization": f"Bearer {key}"}


async def test_every_answer_says_what_was_decided_and_can_be_explained(tmp_path: Path) -> None:
    async with scripted(well, well) as servers:
        routing = {"shadow_policy": "round_robin"}
        async with platform(tmp_path, [server.url for server in servers], routing=routing) as gate:
            answers = [
                await gate.chat(),
                await gate.chat(stream=True),
                await gate.chat(model="unknown"),
                await gate.chat(service_tier="nonsense"),
                await gate.http.post(CHAT, content=b"no json"),
            ]
            for answer in answers:
                found = await gate.http.get(f"/api/decisions/{decision_id(answer)}")
                assert found.status_code == 200, found.text
                assert found.json()["status"] == answer.status_code
            whole = await gate.http.get(f"/api/decisions/{quote(answers[0].headers['x-penstock-decision'], safe='')}")
            decision = whole.json()
            assert decision["id"] == decision_id(answers[0])
            assert decision["worker_id"] == answers[0].headers["x-penstock-worker"]
            assert [each["worker_id"] for each in decision["candidates"] if each["chosen"]] == [decision["worker_id"]]
            assert decision["shadow"]["policy"] == "round_robin"
            listed = (await gate.http.get("/api/decisions", params={"limit": 3})).json()
            assert [each["id"] for each in listed["data"]] == [decision_id(answer) for answer in answers[:1:-1]]
            assert listed["has_more"] is True
            for last in ("/api/decisions?last", "/api/decisions?last=1", "/api/decisions?last=true"):
                assert [each["id"] for each in (await gate.http.get(last)).json()["data"]] == [decision_id(answers[-1])]
            metrics = (await gate.http.get("/metrics")).text
            assert sum(float(count) for count in re.findall(r"penstock_shadow_decisions_total{.*} (\S+)", metrics)) == 2


async def test_refusal_of_an_unknown_key_keeps_no_decision(tmp_path: Path) -> None:
    async with scripted(well) as (server,), platform(tmp_path, [server.url]) as gate:
        answer = await gate.http.post(CHAT, json=gate.body(), headers={"authorization": "Bearer nobody"})
        assert re.fullmatch(r"req_[0-9a-f]+;refused=invalid_api_key", answer.headers["x-penstock-decision"])
        missing = await gate.http.get(f"/api/decisions/{answer.headers['x-penstock-decision'].partition(';')[0]}")
        assert missing.status_code == 404


async def test_an_organisation_sees_its_own_requests_alone(tmp_path: Path) -> None:
    async with scripted(well) as (server,), platform(tmp_path, [server.url]) as gate:
        theirs = await another_key(gate, Scope.INFERENCE)
        ours = decision_id(await gate.chat())
        answer = await gate.http.post(CHAT, json=gate.body(max_tokens=1), headers=theirs)
        assert answer.status_code == 200
        assert (await gate.http.get(f"/api/decisions/{ours}", headers=theirs)).status_code == 404
        seen = (await gate.http.get("/api/decisions", headers=theirs)).json()["data"]
        assert [each["id"] for each in seen] == [decision_id(answer)]
        assert (await gate.http.get(f"/api/decisions/{decision_id(answer)}")).status_code == 200, "the platform's admin sees all"
        everything = (await gate.http.get("/api/decisions")).json()["data"]
        assert {each["id"] for each in everything} == {ours, decision_id(answer)}


async def test_a_request_that_waited_and_one_that_was_shed(tmp_path: Path) -> None:
    async def held(client: Client) -> None:
        await client.go.wait()
        await client.answer(200, reply())

    async with scripted(held) as (server,):
        listed = [{"model": "scripted", "url": server.url, "slots": 1}]
        async with platform(tmp_path, listed, scheduling={"queue_limit": 1, "priority_reserve": 0}) as gate:
            first = asyncio.create_task(gate.chat())
            await server.arrived.until(lambda: server.requests)
            second = asyncio.create_task(gate.chat())
            await until(lambda: gate.gateway.pipeline.queues().get("scripted"))
            shed = await gate.chat()
            assert shed.status_code == 429
            decision = (await gate.http.get(f"/api/decisions/{decision_id(shed)}")).json()
            assert (decision["outcome"], decision["code"], decision["worker_id"]) == ("refused", "rate_limit_exceeded", "")
            assert decision["advice"]
            server.requests[0].go.set()
            await server.arrived.until(lambda: len(server.requests) == 2)
            server.requests[1].go.set()
            assert (await first).status_code == 200
            waited = await second
            decision = (await gate.http.get(f"/api/decisions/{decision_id(waited)}")).json()
            assert decision["waiting"] == 1
            assert decision["queue_seconds"] > 0
            assert "queued at position 1" in json.dumps(decision["timeline"])
            assert re.search(r";wait=0\.\d{3};tries=1$", waited.headers["x-penstock-decision"])


async def test_a_sample_outlives_the_memory_of_the_gateway(tmp_path: Path) -> None:
    explain = {"sample_share": 1.0}
    async with scripted(well) as (server,), platform(tmp_path, [server.url], explain=explain) as gate:
        answer = await gate.chat()
        await until_answer(lambda: gate.gateway.store.decisions.get(decision_id(answer)), lambda kept: kept is not None)
        remembered = (await gate.http.get(f"/api/decisions/{decision_id(answer)}")).json()
    async with scripted(well) as (server,), platform(tmp_path, [server.url], explain=explain) as again:
        assert again.gateway.deps.decisions.find(decision_id(answer)) is None
        kept = await again.http.get(f"/api/decisions/{decision_id(answer)}", headers=gate.authorization)
        assert kept.json() == remembered
        listed = await again.http.get("/api/decisions?last", headers=gate.authorization)
        assert listed.json()["data"] == [remembered]


async def test_the_command_explains_the_last_request_and_a_named_one(tmp_path: Path) -> None:
    async with scripted(well, well) as servers, platform(tmp_path, [server.url for server in servers]) as gate:
        answer = await gate.chat()
        code, text = await explain(gate, "--last")
        assert code == 0
        assert text.startswith(f"{decision_id(answer)}  answered by {answer.headers['x-penstock-worker']}")
        for part in (
            "timeline",
            "sent to",
            "candidates, as power_of_two saw them (2 of 2)",
            "per minute left",
            "no setting would have changed",
        ):
            assert part in text
        code, text = await explain(gate, answer.headers["x-penstock-decision"], "--json")
        assert (code, json.loads(text)["id"]) == (0, decision_id(answer))
        await gate.chat(model="unknown")
        code, text = await explain(gate, "--last")
        assert "refused (404 model_not_found)" in text
        assert "what would have changed it\n  models: an alias" in text
        assert (await explain(gate, "req_00"))[0] == ExitCode.NOT_FOUND
        assert (await explain(gate))[0] == (await explain(gate, "req_00", "--last"))[0] == ExitCode.USAGE


async def explain(gate: Platform, *arguments: str) -> tuple[int, str]:
    """As a process of its own, as the gateway runs in this one."""
    environment = {"PENSTOCK_BASE_URL": gate.gateway.base_url, "PENSTOCK_API_KEY": gate.first.api_key, "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "penstock", "explain", *arguments]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()
