"""Workers of one model whose engines can different things, and models that take tensors instead of text."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from penstock.domain.workers import WorkerState
from tests.contract.compute.engines.ollama_server import OllamaServer
from tests.contract.compute.engines.subjects import FAST
from tests.contract.compute.engines.triton_server import TritonServer
from tests.support.gateway import MODEL, Client, Platform, full_stream, platform, scripted, sim_worker
from tests.support.waiting import until

ADD: dict[str, Any] = {
    "inputs": [
        {"name": "INPUT0", "shape": [1, 4], "datatype": "INT32", "data": [1, 2, 3, 4]},
        {"name": "INPUT1", "shape": [1, 4], "datatype": "INT32", "data": [1, 1, 1, 1]},
    ]
}


FORMED = {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}}


async def say_hi(client: Client) -> None:
    reply = {"choices": [{"index": 0, "message": {"content": "hi"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    await client.answer(200, json.dumps(reply).encode())


async def say_stream(client: Client) -> None:
    await client.begin_stream()
    for piece in full_stream(2):
        await client.chunk(piece)
    await client.end_stream()


async def test_parameter_that_one_engine_lacks_goes_to_another_engine(tmp_path: Path) -> None:
    server = OllamaServer(FAST)
    async with (
        platform(tmp_path) as gate,
        server.serving() as base_url,
        sim_worker(gate, tmp_path / "ollama", engine="ollama", base_url=base_url, model="sim-small") as ollama,
        sim_worker(gate, tmp_path / "sim", models="sim-small", speed="1000") as sim,
    ):
        for stream in (False, True):
            for _ in range(8):
                answer = await gate.chat(model="sim-small", n=2, max_tokens=2, stream=stream)
                assert answer.status_code == 200, answer.text
                assert answer.headers["x-penstock-worker"] == sim.presence.worker_id
        # That it could not was nobody's failure: it is asked for everything else.
        assert gate.member(ollama_name(gate, ollama.presence.worker_id)).failures_in_a_row == 0
        plain = {(await gate.chat(model="sim-small", max_tokens=2)).headers["x-penstock-worker"] for _ in range(30)}
        assert plain == {sim.presence.worker_id, ollama.presence.worker_id}
        await gate.until_quiet()
    assert all(body["options"].get("num_predict") == 2 for _, body in server.asked)


def ollama_name(gate: Platform, worker_id: str) -> str:
    return next(member.record.name for member in gate.gateway.workers.members() if member.id == worker_id)


async def test_parameter_that_no_engine_supports_is_refused_by_name(tmp_path: Path) -> None:
    async with (
        platform(tmp_path) as gate,
        OllamaServer(FAST).serving() as base_url,
        sim_worker(gate, tmp_path / "one", engine="ollama", base_url=base_url, model="sim-small"),
        sim_worker(gate, tmp_path / "two", engine="ollama", base_url=base_url, model="sim-small"),
    ):
        answer = await gate.chat(model="sim-small", n=2)
        assert (answer.status_code, answer.json()["error"]["code"], answer.json()["error"]["param"]) == (400, "unsupported_parameter", "n")
        await gate.until_quiet()


async def test_an_upstream_that_would_drop_a_parameter_is_not_asked(tmp_path: Path) -> None:
    """An Ollama that the gateway calls directly: its OpenAI layer says nothing, so the gateway must."""

    async with scripted(say_hi) as [server], platform(tmp_path, [server.url]) as gate:
        server.owned_by, server.pages[b"/api/version"] = "library", b'{"version":"0.12.0"}'
        await gate.until_ready(1)
        await until(lambda: gate.member().unsupported, 10)
        refused = await gate.chat(logprobs=True)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "logprobs")
        neutral = await gate.chat(logprobs=False, n=1, tool_choice=None)
        assert neutral.status_code == 200
        await gate.until_quiet()
        assert len(server.requests) == 1


@pytest.mark.parametrize(("asked", "param"), [({"n": 2}, "n"), ({"logprobs": True}, "logprobs"), (FORMED, "response_format")])
async def test_transformers_serve_is_recognised_by_its_page_and_not_asked_for_what_it_drops(
    tmp_path: Path, asked: dict[str, Any], param: str
) -> None:
    async with scripted(say_hi) as [server]:
        server.pages[b"/openapi.json"] = b'{"info":{"title":"FastAPI"},"paths":{"/v1/models":{},"/load_model":{"post":{}}}}'
        async with platform(tmp_path, [server.url]) as gate:
            await until(lambda: gate.member().unsupported, 10)
            refused = await gate.chat(**asked)
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported_parameter")
            assert refused.json()["error"]["param"] == param
            assert (await gate.chat(n=1, response_format={"type": "text"}, max_completion_tokens=7)).status_code == 200
            assert [request.json["max_completion_tokens"] for request in server.requests] == [7]
            await gate.until_quiet()


@pytest.mark.parametrize("stream", [False, True])
async def test_newer_name_of_a_parameter_reaches_an_engine_as_the_older(tmp_path: Path, stream: bool) -> None:
    async def script(client: Client) -> None:
        await (say_stream(client) if stream else say_hi(client))

    async with scripted(script) as [server]:
        server.owned_by, server.pages[b"/openapi.json"] = "me", b'{"info":{"title":"llama.cpp Python API"}}'
        async with platform(tmp_path, [server.url]) as gate:
            await until(lambda: gate.member().unsupported, 10)
            assert (await gate.chat(max_completion_tokens=5, max_tokens=9, stream=stream)).status_code == 200
            assert (await gate.chat(max_completion_tokens=None, max_tokens=9, stream=stream)).status_code == 200
            await gate.until_quiet()
    sent = [request.json for request in server.requests]
    assert [(body["max_tokens"], "max_completion_tokens" in body) for body in sent] == [(5, False), (9, False)]


@pytest.mark.parametrize("owner", ["me", "library"])
async def test_owner_of_a_model_alone_switches_no_parameter_off(tmp_path: Path, owner: str) -> None:
    async with scripted(say_hi) as [server]:
        server.owned_by = owner
        async with platform(tmp_path, [server.url]) as gate:
            assert (await gate.chat(logprobs=True, n=1, tool_choice="auto", max_completion_tokens=5)).status_code == 200
            assert gate.member().unsupported == frozenset()


@pytest.mark.parametrize("transport", ["base_url", "grpc"])
async def test_tensors_pass_the_gateway_and_are_counted(tmp_path: Path, transport: str) -> None:
    async with platform(tmp_path) as gate, TritonServer(FAST).serving() as (base_url, grpc):
        where = {"base_url": base_url} if transport == "base_url" else {"grpc": grpc}
        async with sim_worker(gate, tmp_path / "triton", engine="triton", **where) as worker:
            answer = await gate.http.post("/v1/models/add_sub/infer", json={**ADD, "id": "one"})
            assert answer.status_code == 200, answer.text
            assert answer.json()["outputs"][0]["data"] == [2, 3, 4, 5]
            assert (answer.json()["model_name"], answer.json()["id"]) == ("add_sub", "one")
            assert answer.headers["x-penstock-worker"] == worker.presence.worker_id
            assert "x-ratelimit-remaining-requests" in answer.headers
            wrong = await gate.http.post("/v1/models/add_sub/infer", json={"inputs": [{**ADD["inputs"][0], "shape": [2, 4]}]})
            assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "inputs[0].data")
            await gate.until_quiet()
            [record] = await gate.records()
    assert (record.model, record.prompt_tokens, record.completion_tokens, record.estimated) == ("add_sub", 0, 0, False)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/models/nobody/infer", ADD, 404, "model_not_found"),
        ("/v1/models/sim-small/infer", ADD, 400, "unsupported_parameter"),
        ("/v1/models/sim-small/infer", {"inputs": []}, 400, "invalid_request_error"),
        ("/v1/models/sim-small/infer", {}, 400, "invalid_request_error"),
        ("/v1/models/sim-small/infer", [], 400, "invalid_request_error"),
        ("/v1/models//infer", ADD, 405, "method_not_allowed"),
        ("/v1/infer", ADD, 404, "not_found"),
    ],
)
async def test_tensors_that_no_engine_takes_are_refused_and_not_recorded(
    tmp_path: Path, path: str, body: object, status: int, code: str
) -> None:
    async with platform(tmp_path) as gate, sim_worker(gate, tmp_path / "sim", models="sim-small"):
        answer = await gate.http.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
        await gate.until_quiet()
        assert await gate.records() == []


async def test_tensors_need_a_key_and_a_model_may_have_slashes(tmp_path: Path) -> None:
    async with platform(tmp_path) as gate, sim_worker(gate, tmp_path / "sim", models="acme/river"):
        stranger = await gate.http.post("/v1/models/acme/river/infer", json=ADD, headers={"authorization": "Bearer nobody"})
        assert stranger.status_code == 401
        for path in ("/v1/models/acme/river/infer", "/v1/models/acme%2Friver/infer?x=1"):
            assert (await gate.http.post(path, json=ADD)).json()["error"]["code"] == "unsupported_parameter"


async def test_worker_whose_server_has_ended_is_not_ready_until_the_server_is_back(tmp_path: Path) -> None:
    options = {"model": MODEL, "probe_seconds": "0.05"}
    async with (
        scripted(say_hi) as [server],
        platform(tmp_path) as gate,
        sim_worker(gate, tmp_path / "w", engine="openai", base_url=server.url, **options) as worker,
    ):
        member = next(one for one in gate.gateway.workers.members() if one.id == worker.presence.worker_id)
        assert (await gate.chat()).status_code == 200
        await server.close()
        await until(lambda: member.state is WorkerState.SUSPECT, 10)
        away = await gate.chat()
        assert (away.status_code, away.json()["error"]["code"]) == (503, "server_overloaded")
        assert (await gate.http.get("/v1/models")).json()["data"] == []
        await server.open()
        await until(lambda: member.state is WorkerState.READY, 10)
        assert (await gate.chat()).status_code == 200
        await gate.until_quiet()


async def test_request_that_finds_no_server_behind_the_worker_is_a_503(tmp_path: Path) -> None:
    async with scripted(say_hi) as [server], platform(tmp_path) as gate:
        options = {"base_url": server.url, "model": MODEL, "probe_seconds": "600"}
        async with sim_worker(gate, tmp_path / "w", engine="openai", **options):
            await server.close()
            assert (await gate.chat()).status_code == 503
            await gate.until_quiet()


async def test_models_that_a_server_loads_later_or_unloads_are_listed_as_they_are(tmp_path: Path) -> None:
    async with (
        scripted(say_hi) as [server],
        platform(tmp_path) as gate,
        sim_worker(gate, tmp_path / "w", engine="openai", base_url=server.url, probe_seconds="0.05") as worker,
    ):

        async def listed() -> set[str]:
            worker.presence.change()  # its next heartbeat is now
            return {model["id"] for model in (await gate.http.get("/v1/models")).json()["data"]}

        async with asyncio.timeout(20):
            for models in ((MODEL, "late"), ("late",), ("late", MODEL)):
                server.models = models
                while await listed() != set(models):
                    await worker.presence.changed(0.05)
            assert (await gate.chat(model="late")).status_code == 200
            server.models = ()
            while worker.engine is not None and await worker.engine.models():
                await worker.presence.changed(0.05)
        assert await listed() == {MODEL, "late"}
        await gate.until_quiet()
