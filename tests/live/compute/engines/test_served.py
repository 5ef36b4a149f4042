"""vLLM's and SGLang's engines with a server of another maker in the place of theirs: `transformers serve` on the tiny model.

Neither vLLM nor SGLang runs without a GPU. What is shown here is all but their own program: a real process of somebody else, started from
the engine's options by a worker, asked through a gateway, crashed, read in the control API, stopped.
"""

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.live.platform import WATCHED, Platform, eventually, running, worker
from tests.support.tiny.place import require, tiny_model

START_SECONDS = 60.0


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(Platform(tmp_path_factory.mktemp("served"), "--workers", "0", environment=WATCHED)) as one:
        yield one


def options(folder: Path, **more: str) -> list[str]:
    """The command runs in the model's folder, so that its name is a path, and finds no other model to list."""
    program = Path(sys.executable).with_name("transformers")
    serve = f"cd {folder} && HF_HUB_CACHE={folder} exec {program} serve {{model}} --port {{port}} --device cpu"
    given = {"command": f"sh -c '{serve}'", "capabilities": "chat,completions", "check_seconds": "0.3", **more}
    return [word for name, value in given.items() for word in ("--engine-option", f"{name}={value}")]


def ask(platform: Platform, model: str, **body: Any) -> str:
    """The answer's body as it came."""
    messages = [{"role": "user", "content": "Tell me about water."}]
    request = urllib.request.Request(
        f"{platform.base_url}/chat/completions",
        json.dumps({"model": model, "messages": messages, "temperature": 0, **body}).encode(),
        {"authorization": f"Bearer {platform.api_key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return str(response.read().decode())


def server_of(state: Path) -> int:
    """The process that listens: the last one that the log of the server names."""
    said = [line for line in (state / "engine.log").read_text().splitlines() if "Started server process" in line]
    return int(said[-1].partition("[")[2].partition("]")[0])


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
@pytest.mark.parametrize("engine", ["vllm", pytest.param("sglang", marks=pytest.mark.soak)])
def test_a_server_of_another_maker_is_run_asked_crashed_and_stopped(platform: Platform, tmp_path: Path, engine: str) -> None:
    require("torch", "transformers", "accelerate")
    tiny = tiny_model()
    state = tmp_path / "state"
    with worker(platform, state, engine, "--engine", engine, "--model", tiny.name, *options(tiny.parent)):
        unary = json.loads(ask(platform, "tiny", max_tokens=12))
        assert unary["usage"]["completion_tokens"] == 12
        said = unary["choices"][0]["message"]["content"]
        assert said in _text(ask(platform, "tiny", max_tokens=12, stream=True)) == said

        [shown] = [each for each in platform.control.get("/api/workers")["data"] if each["name"] == engine]
        assert (shown["engine"], [model["id"] for model in shown["models"]]) == (engine, ["tiny"])
        lines = platform.control.get(f"/api/workers/{shown['id']}/logs?lines=50")["lines"]
        assert any("Uvicorn running" in line for line in lines)

        server = server_of(state)
        if engine == "vllm":  # once is enough: the code is the same, and each start of this server takes many seconds
            os.kill(server, signal.SIGKILL)
            eventually(lambda: server_of(state) != server, START_SECONDS)
            assert json.loads(eventually(lambda: _answer(platform), START_SECONDS))["choices"][0]["message"]["content"] == said
            server = server_of(state)
    eventually(lambda: not alive(server), 10.0)


def test_a_worker_whose_engine_keeps_no_log_says_so(platform: Platform, tmp_path: Path) -> None:
    with worker(platform, tmp_path, "plain", "--engine", "sim"):
        [shown] = [each for each in platform.control.get("/api/workers")["data"] if each["name"] == "plain"]
        with pytest.raises(urllib.error.HTTPError, match="404"):
            platform.control.get(f"/api/workers/{shown['id']}/logs")


def _answer(platform: Platform) -> str:
    """Empty while the server is away."""
    try:
        return ask(platform, "tiny", max_tokens=12)
    except urllib.error.HTTPError as error:
        if error.code not in {429, 502, 503}:
            raise
        return ""


def _text(stream: str) -> str:
    events = [json.loads(line.removeprefix("data: ")) for line in stream.splitlines() if line.startswith("data: {")]
    assert not [event for event in events if "error" in event], stream
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])
