"""What an engine does not have is said with a 400 that names the field; it is never dropped without a word."""

import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.compute.engines.subjects import REFUSED, SIM_SERVER, serving, subject


@pytest.mark.parametrize(("engine", "feature"), [(engine, feature) for engine, features in REFUSED.items() for feature in features])
async def test_parameter_that_an_engine_lacks_is_refused(engine: str, feature: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    fields: dict[str, Any] = REFUSED[engine][feature]
    async with subject(engine, tmp_path) as served:
        for stream in (False, True):
            hello = [{"role": "user", "content": "Hello"}]
            status, error = await served.error("/v1/chat/completions", messages=hello, stream=stream, **fields)
            assert (status, error["code"], error["param"]) == (400, "unsupported_parameter", list(fields)[-1])
    request.node.user_properties += [("feature", feature), ("engine", engine), ("refused", True)]


@pytest.mark.parametrize(
    ("engine", "options", "status"),
    [("llamacpp", {}, 400), ("llamacpp", {"embeddings": "yes"}, 200), ("vllm", {}, 200), ("vllm", {"capabilities": "chat"}, 400)],
)
async def test_embeddings_are_refused_where_the_capabilities_of_the_server_are_known(
    engine: str, options: dict[str, str], status: int, tmp_path: Path
) -> None:
    command = f"{sys.executable} {SIM_SERVER} {{port}} {{model}} 1000"
    given = {"model": "sim-small", "command": command, "check_seconds": "0.2", "start_seconds": "30", **options}
    async with serving(tmp_path, engine, given) as worker, httpx.AsyncClient(base_url=worker.base_url, trust_env=False) as http:
        http.headers["authorization"] = f"Bearer {worker.secret}"
        answer = await http.post("/v1/embeddings", json={"model": "sim-small", "input": "x"})
    assert answer.status_code == status, answer.text
    if status == 400:
        error = answer.json()["error"]
        assert (error["code"], error["param"]) == ("unsupported_parameter", "model")
