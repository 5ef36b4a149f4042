"""The built-in load generator against the upstream that makes no tokens: both for real, on loopback."""

import asyncio

import pytest

from bench import generator
from bench.load import Target, body
from bench.upstream import Upstream, listener


@pytest.mark.parametrize("stream", [False, True])
async def test_every_request_is_answered(stream: bool) -> None:
    sock = listener(0)
    target = Target(sock.getsockname()[1])
    async with await asyncio.get_running_loop().create_server(Upstream, sock=sock):
        found = await generator.run(
            {"url": target.url, "headers": target.all_headers, "body": body(stream=stream), "seconds": 0.1, "connections": 2}
        )
    assert found["requests"] >= 2
    assert found["bad"] == 0
    assert 0 < found["p50_ms"] <= found["p99_ms"]
