"""Triton on both transports: tensors, text generation, the repository, refusals."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs

from penstock.compute.engines import ProbeFailed
from penstock.compute.engines.triton import TritonEngine
from penstock.domain.inference import OPERATION_PATHS, Operation
from tests.contract.compute.engines.subjects import FAST, Subject, serving, text_of, within
from tests.contract.compute.engines.triton_server import EXPLODE, MODELS, TOKEN, TritonServer

INFER_PATH = OPERATION_PATHS[Operation.INFER]
ADD = {
    "inputs": [
        {"name": "INPUT0", "shape": [1, 4], "datatype": "INT32", "data": [[1, 2, 3, 4]]},
        {"name": "INPUT1", "shape": [1, 4], "datatype": "INT32", "data": [10, 20, 30, 40]},
    ]
}


@pytest.fixture(params=["http", "grpc"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.asynccontextmanager
async def triton(directory: Path, server: TritonServer, transport: str, **options: str) -> AsyncIterator[Subject]:
    async with server.serving() as (base_url, grpc):
        where = {"base_url": base_url} if transport == "http" else {"grpc": grpc}
        async with serving(directory, "triton", {**where, **options}) as worker:
            assert worker.engine is not None
            offers = {offer.id: offer for offer in await worker.engine.models()}
            name = options.get("model", "sim-small")
            headers = {"authorization": f"Bearer {worker.secret}", "content-type": "application/json"}
            async with httpx.AsyncClient(base_url=worker.base_url, headers=headers, timeout=10, trust_env=False) as http:
                yield Subject(http, name, offers[name], (worker,))


async def test_inputs_of_each_triton_model_are_discovered(tmp_path: Path, transport: str) -> None:
    async with triton(tmp_path, TritonServer(FAST), transport) as served:
        assert served.workers[0].engine is not None
        offers = {offer.id: offer.capabilities for offer in await served.workers[0].engine.models()}
    assert offers == {"add_sub": ("infer",), "flat": ("completions",), "shout": ("infer",), "sim-small": ("completions",)}


async def test_tensors_of_every_type_come_back_unchanged(tmp_path: Path, transport: str) -> None:
    async with triton(tmp_path, TritonServer(FAST), transport) as served:
        answer = (await served.post(INFER_PATH, **{**ADD, "model": "add_sub", "id": "seven"})).json()
        only = (await served.post(INFER_PATH, **{**ADD, "model": "add_sub", "outputs": [{"name": "OUTPUT1"}]})).json()
    assert (answer["model_name"], answer["id"]) == ("add_sub", "seven")
    assert answer["outputs"] == [
        {"name": "OUTPUT0", "datatype": "INT32", "shape": [1, 4], "data": [11, 22, 33, 44]},
        {"name": "OUTPUT1", "datatype": "INT32", "shape": [1, 4], "data": [-9, -18, -27, -36]},
    ]
    assert [one["name"] for one in only["outputs"]] == ["OUTPUT1"]


async def test_an_ensemble_of_texts_and_an_optional_input(tmp_path: Path, transport: str) -> None:
    text = {"name": "TEXT", "shape": [2], "datatype": "BYTES", "data": ["ab", "grün"]}
    times = {"name": "TIMES", "shape": [1], "datatype": "FP32", "data": [2]}
    async with triton(tmp_path, TritonServer(FAST), transport) as served:
        once = (await served.post(INFER_PATH, model="shout", inputs=[text])).json()
        twice = (await served.post(INFER_PATH, model="shout", inputs=[text, times])).json()
    assert once["outputs"][0]["data"] == ["AB", "GRüN"]
    assert [one["data"] for one in twice["outputs"]] == [["ABAB", "GRüNGRüN"], [4.0, 10.0]]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"name": "OTHER"}, "inputs[0].name"),
        ({"datatype": "INT64"}, "inputs[0].datatype"),
        ({"shape": [1, 5], "data": [1, 2, 3, 4, 5]}, "inputs[0].shape"),
        ({"shape": [4]}, "inputs[0].shape"),
        ({"data": [1, 2, 3]}, "inputs[0].data"),
        ({"data": [1, 2, 3, 2**31]}, "inputs[0].data"),
        ({"data": [1, 2, 3, 4.5]}, "inputs[0].data"),
        ({"data": [1, 2, 3, "4"]}, "inputs[0].data"),
        ({"datatype": "COMPLEX"}, "inputs[0].datatype"),
        ({"shape": [-1, 4]}, "inputs[0].shape[0]"),
        ({"shape": [4096, 4097], "data": []}, "inputs[0].shape"),
        ({"parameters": {"binary_data_size": 16}}, "inputs[0].parameters"),
    ],
)
async def test_a_wrong_tensor_is_named(tmp_path: Path, change: dict[str, Any], param: str) -> None:
    inputs = [{**ADD["inputs"][0], **change}, ADD["inputs"][1]]
    async with triton(tmp_path, TritonServer(FAST), "http") as served:
        status, error = await served.error(INFER_PATH, model="add_sub", inputs=inputs)
    assert (status, error["param"]) == (400, param), error


async def test_triton_request_with_missing_or_unknown_parts_is_refused_by_name(tmp_path: Path, transport: str) -> None:
    async with triton(tmp_path, TritonServer(FAST), transport) as served:
        missing = await served.error(INFER_PATH, model="add_sub", inputs=ADD["inputs"][:1])
        twice = await served.error(INFER_PATH, model="add_sub", inputs=[ADD["inputs"][0]] * 2)
        output = await served.error(INFER_PATH, **{**ADD, "model": "add_sub", "outputs": [{"name": "OUTPUT9"}]})
        model = await served.error(INFER_PATH, **{**ADD, "model": "nobody"})
        chat = await served.error("/v1/chat/completions", model="add_sub", messages=[{"role": "user", "content": "Hello"}])
    assert [(status, error["code"]) for status, error in (missing, twice, output, model, chat)] == [
        (400, "invalid_request_error"),
        (400, "invalid_request_error"),
        (400, "invalid_request_error"),
        (404, "model_not_found"),
        (400, "invalid_request_error"),
    ]
    assert "'INPUT1' is missing" in missing[1]["message"]


@pytest.mark.parametrize("model", ["sim-small", "flat"])
async def test_triton_text_model_streams_and_stops_at_the_stop_text(tmp_path: Path, transport: str, model: str) -> None:
    server = TritonServer(FAST)
    async with triton(tmp_path, server, transport, model=model) as served:
        asked = {"prompt": "Tell me about water.", "max_tokens": 6, "seed": 5, "temperature": 0.5}
        answer = (await served.post("/v1/completions", **asked)).json()
        response = await served.post("/v1/completions", **asked, stream=True, stream_options={"include_usage": True})
        events = [msgspec.json.decode(line[6:]) for line in response.text.split("\n\n") if line.startswith("data: {")]
        text = "".join(choice["text"] for event in events for choice in event["choices"])
        cut = (await served.post("/v1/completions", **asked, stop=[answer["choices"][0]["text"][8:12]])).json()
    assert text == answer["choices"][0]["text"] != ""
    assert answer["choices"][0]["finish_reason"] == "length"
    assert cut["choices"][0]["text"] == text[:8]
    if model == "sim-small":
        assert answer["usage"]["completion_tokens"] == 6 == events[-1]["usage"]["completion_tokens"]
        assert cut["choices"][0]["finish_reason"] == "stop"
    else:
        # The model does not count: whoever asks the gateway gets its estimate.
        assert "usage" not in answer
        assert server.generated[0]["random_seed"] == 5


@pytest.mark.parametrize(
    ("model", "body", "param"),
    [
        ("sim-small", {"n": 2}, "n"),
        ("sim-small", {"logprobs": 1}, "logprobs"),
        ("sim-small", {"prompt": [1, 2]}, "prompt"),
        ("flat", {"presence_penalty": 1}, "presence_penalty"),
    ],
)
async def test_parameter_without_a_tensor_is_refused(tmp_path: Path, model: str, body: dict[str, Any], param: str) -> None:
    server = TritonServer(FAST)
    async with triton(tmp_path, server, "http", model=model) as served:
        for stream in (False, True):
            status, error = await served.error("/v1/completions", **{"prompt": "x", "stream": stream, **body})
            assert (status, error["code"], error["param"]) == (400, "unsupported_parameter", param)
        chat = await served.error("/v1/chat/completions", messages=[{"role": "user", "content": "Hello"}])
    assert (chat[0], chat[1]["param"]) == (400, "messages")
    assert server.generated == []


@pytest.mark.parametrize("model", ["sim-small", "pieces"])
async def test_tensors_for_a_decoupled_model_are_refused(tmp_path: Path, transport: str, model: str) -> None:
    text = {"name": "TEXT", "shape": [1], "datatype": "BYTES", "data": ["ab"]}
    async with triton(tmp_path, TritonServer(FAST), transport) as served:
        status, error = await served.error(INFER_PATH, model=model, inputs=[text])
    assert (status, error["code"], error["param"]) == (400, "unsupported_parameter", "model")


async def test_decoupled_model_without_text_cannot_be_served_alone(tmp_path: Path, transport: str) -> None:
    with pytest.raises(ProbeFailed, match="'pieces' is decoupled"):
        async with triton(tmp_path, TritonServer(FAST), transport, model="pieces"):
            pass


@pytest.mark.parametrize("stream", [False, True])
async def test_refusal_of_a_text_model_is_passed_on_with_its_message(tmp_path: Path, transport: str, stream: bool) -> None:
    async with triton(tmp_path, TritonServer(FAST), transport) as served:
        status, error = await served.error("/v1/completions", prompt=EXPLODE, stream=stream)
    assert (status, error["message"]) == (400, "llm exploded")


async def test_failure_of_a_model_is_in_the_log_and_not_in_the_answer(tmp_path: Path, transport: str) -> None:
    text = {"name": "TEXT", "shape": [1], "datatype": "BYTES", "data": [EXPLODE]}
    async with triton(tmp_path, TritonServer(FAST), transport) as served:
        with capture_logs() as logs:
            answer = await served.post(INFER_PATH, model="shout", inputs=[text])
    assert answer.status_code == 502
    assert "exploded" not in answer.text
    [failure] = [line for line in logs if line["event"] == "engine_failed"]
    assert (failure["model"], failure["reason"]) == ("shout", "shout exploded")


async def test_leaving_in_mid_stream_stops_the_generation(tmp_path: Path, transport: str) -> None:
    server = TritonServer({"speed": "1"})
    async with triton(tmp_path, server, transport) as served:
        asked = {"model": served.model, "prompt": "Go on", "max_tokens": 5000, "stream": True}
        async with served.http.stream("POST", "/v1/completions", json=asked) as response:
            pieces = response.aiter_raw()
            await anext(pieces)
            assert server.running == 1
        await within(1.0, served.idle())


async def test_model_is_loaded_when_a_worker_serves_it_and_unloaded_when_the_worker_stops(tmp_path: Path, transport: str) -> None:
    server = TritonServer(FAST, models=["shout"])
    async with triton(tmp_path, server, transport, model="add_sub") as served:
        assert server.loaded == {"shout", "add_sub"}
        assert (await served.post(INFER_PATH, **ADD)).status_code == 200
    assert server.loaded == {"shout"}
    assert set(MODELS) > server.loaded


@pytest.mark.parametrize("server", [{"token": "secret"}, {"extended": False}], ids=["protected", "kserve"])
async def test_named_model_is_served_without_the_index_of_the_repository(tmp_path: Path, transport: str, server: dict[str, Any]) -> None:
    async with triton(tmp_path, TritonServer(FAST, **server), transport, model="add_sub") as served:
        answer = await served.post(INFER_PATH, **ADD)
        assert answer.json()["outputs"][0]["data"] == [11, 22, 33, 44]
    with pytest.raises(ProbeFailed):
        async with triton(tmp_path / "all", TritonServer(FAST, **server), transport):
            pass


async def test_headers_open_a_protected_repository(tmp_path: Path, transport: str) -> None:
    server = TritonServer(FAST, models=["shout"], token="secret")
    async with triton(tmp_path, server, transport, model="add_sub", headers=f"{TOKEN}=secret"):
        assert server.loaded == {"shout", "add_sub"}
    with pytest.raises(ProbeFailed):
        async with triton(tmp_path / "closed", TritonServer(FAST, models=[], token="secret"), transport, model="add_sub"):
            pass


async def test_header_that_cannot_be_sent_is_refused(tmp_path: Path, transport: str) -> None:
    with pytest.raises(ValueError, match="header"):
        async with triton(tmp_path, TritonServer(FAST), transport, headers="a b=c"):
            pass


async def test_a_model_that_cannot_be_loaded_and_a_server_that_is_not_there(tmp_path: Path, transport: str) -> None:
    with pytest.raises(ProbeFailed, match="failed to load 'nobody'"):
        async with triton(tmp_path / "a", TritonServer(FAST), transport, model="nobody"):
            pass
    nowhere = {"base_url": "http://127.0.0.1:9"} if transport == "http" else {"grpc": "127.0.0.1:9"}
    with pytest.raises(ProbeFailed, match="not there, or not ready"):
        async with serving(tmp_path / "b", "triton", {**nowhere, "connect_seconds": "0.3"}):
            pass


async def test_triton_openai_frontend_answers_text_requests(tmp_path: Path) -> None:
    server = TritonServer(FAST)
    async with (
        serving(tmp_path / "front", "sim", {**FAST, "models": "sim-small"}) as front,
        triton(tmp_path / "triton", server, "http", openai_url=front.base_url, openai_secret=front.secret) as served,
    ):
        assert "chat" in served.offer.capabilities
        assert "infer" not in served.offer.capabilities
        assert text_of(await served.stream(max_tokens=3))
        assert (await served.post(INFER_PATH, **{**ADD, "model": "add_sub"})).status_code == 200
    assert server.generated == []


async def test_requests_queued_in_triton_are_reported_as_waiting(tmp_path: Path) -> None:
    server = TritonServer(FAST)
    async with server.serving() as (base_url, _):
        options = {"base_url": base_url, "metrics_url": f"{base_url}/metrics", "probe_seconds": "0.01"}
        async with serving(tmp_path, "triton", options) as worker:
            engine = worker.engine
            assert engine is not None

            async def told() -> None:
                while engine.load().waiting != 3:
                    await worker.presence.changed(0.01)

            await within(5.0, told())


async def test_worker_refuses_requests_while_triton_is_away(tmp_path: Path, transport: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        base_url, grpc = await stack.enter_async_context(TritonServer(FAST).serving())
        where = {"base_url": base_url} if transport == "http" else {"grpc": grpc}
        async with serving(tmp_path, "triton", {**where, "probe_seconds": "0.01"}) as worker:
            assert isinstance(worker.engine, TritonEngine)
            before = worker.engine.is_away
            await stack.aclose()
            async with asyncio.timeout(10):
                while not worker.engine.is_away:
                    await worker.presence.changed(0.01)
            async with httpx.AsyncClient(base_url=worker.base_url, trust_env=False) as http:
                answer = await http.post(INFER_PATH, json={**ADD, "model": "add_sub"}, headers={"authorization": f"Bearer {worker.secret}"})
    assert (before, answer.status_code) == (False, 503)
