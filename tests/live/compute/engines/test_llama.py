"""llama.cpp itself, on the tiny model as a GGUF file: `llama-server` where it is on the path, llama-cpp-python's server where installed.

Neither is in the project's locks (they are compiled for each machine), so what is absent is skipped, also in CI.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock.compute.engines._supervised.keeper import descendants
from penstock.compute.engines._supervised.served import ServedEngine
from penstock.compute.engines._supervised.supervisor import ServerState
from penstock.compute.engines.llamacpp import member
from penstock.domain.errors import ModelNotFound, UnsupportedParameter
from penstock.domain.inference import Operation
from tests.support.tiny.place import require
from tests.support.waiting import until

ASK = [{"role": "user", "content": "Tell me about water."}]
THERE = {
    "llama-server": shutil.which("llama-server") is not None,
    "llama_cpp.server": importlib.util.find_spec("llama_cpp") is not None,
}


@pytest.fixture(params=sorted(THERE))
def server(request: pytest.FixtureRequest) -> str:
    if not THERE[request.param]:
        pytest.skip(f"{request.param} is not installed here")
    require("torch", "gguf")
    return str(request.param)


@contextlib.asynccontextmanager
async def engine(server: str, **options: str) -> AsyncIterator[ServedEngine]:
    from tests.support.tiny.gguf_file import tiny_gguf

    given = {"model": str(tiny_gguf()), "server": server, "threads": "1", "check_seconds": "0.2", "first_pause": "0.1", **options}
    one = member(given)
    try:
        await one.open()
        yield one
    finally:
        await one.close()


async def ask(one: ServedEngine, **body: Any) -> dict[str, Any]:
    answer = await one.answer(Operation.CHAT, json.dumps({"model": "tiny", "messages": ASK, **body}).encode())
    assert isinstance(answer.body, bytes)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = json.loads(answer.body)
    return found


async def stream(one: ServedEngine, **body: Any) -> str:
    answer = await one.answer(Operation.CHAT, json.dumps({"model": "tiny", "messages": ASK, "stream": True, **body}).encode())
    assert not isinstance(answer.body, bytes)
    events = b"".join([chunk async for chunk in answer.body]).decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    choices = [choice for event in events[:-2] for choice in json.loads(event.removeprefix("data: "))["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


async def test_server_is_started_and_answers(server: str) -> None:
    async with engine(server) as one:
        [offer] = await one.models()
        assert offer.id == "tiny"
        answers = [await ask(one, seed=seed, max_tokens=16) for seed in (5, 5, 6)]
        texts = [answer["choices"][0]["message"]["content"] for answer in answers]
        assert texts[0] == texts[1] != texts[2]
        assert await stream(one, seed=5, max_tokens=16) == texts[0]
        assert answers[0]["usage"]["completion_tokens"] <= 16
        with pytest.raises(ModelNotFound):
            await ask(one, model="another")


async def test_server_is_started_again_after_a_crash(server: str) -> None:
    async with engine(server) as one:
        supervisor = one.supervisor
        assert supervisor is not None
        assert supervisor.pid is not None
        for pid in descendants(supervisor.pid):
            os.kill(pid, signal.SIGKILL)
        await until(lambda: supervisor.restarts == 1 and supervisor.state is ServerState.READY, 20)
        assert (await ask(one, max_tokens=4))["choices"]


async def test_parameter_that_the_server_would_drop_is_refused() -> None:
    if not THERE["llama_cpp.server"]:
        pytest.skip("llama_cpp.server is not installed here")
    require("torch", "gguf")
    async with engine("llama_cpp.server") as one:
        with pytest.raises(UnsupportedParameter, match="'n'"):
            await ask(one, n=2)


async def test_llama_server_tells_its_load() -> None:
    if not THERE["llama-server"]:
        pytest.skip("llama-server is not installed here")
    require("torch", "gguf")
    async with engine("llama-server", slots="2") as one:
        assert one.slots == 2
        assert one.load().running == 0
        assert any("/metrics" in line or "listening" in line for line in one.log_tail(200))
