"""A client that leaves frees what it held."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.compute.engines.subjects import lacks, subject, within

pytestmark = pytest.mark.feature("cancel on disconnect")


def long(engine: str) -> dict[str, Any]:
    """A request whose answer takes longer than any of these tests."""
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Go on"}], "max_tokens": 5000}
    return body if lacks(engine, "ignore_eos") else {**body, "ignore_eos": True}


async def test_leaving_in_mid_stream_frees_the_slot_within_a_second(engine: str, tmp_path: Path) -> None:
    async with subject(engine, tmp_path, {"speed": "1"}) as served:
        asked = {"model": served.model, "stream": True, **long(engine)}
        async with served.http.stream("POST", "/v1/chat/completions", json=asked) as response:
            pieces = response.aiter_raw()  # kept: httpx closes a response with its iterator
            await anext(pieces)
            assert all(worker.presence.heartbeat().running == 1 for worker in served.workers)
        await within(1.0, served.idle())
        for worker in served.workers:
            assert worker.engine is not None
        simulated = served.workers[-1].engine
        assert simulated is not None
        assert simulated.load().running == 0


async def test_leaving_before_the_answer_frees_the_slot_within_a_second(engine: str, tmp_path: Path) -> None:
    async with subject(engine, tmp_path, {"speed": "1"}) as served:
        with pytest.raises(httpx.ReadTimeout):
            await served.http.post("/v1/chat/completions", json={"model": served.model, **long(engine)}, timeout=0.3)
        await within(1.0, served.idle())
