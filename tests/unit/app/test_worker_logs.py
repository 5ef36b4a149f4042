"""The end of an engine's log: of a worker that may be a tenant's, and may send anything."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest

from penstock.app.gateway.worker_logs import tail
from penstock.domain.errors import NotFound, UpstreamFailed
from penstock.domain.workers import WorkerKind, WorkerRecord
from penstock.net.reach import Reach

Answer = Callable[[asyncio.StreamWriter], Coroutine[None, None, None]]


@asynccontextmanager
async def worker(answer: Answer, heads: list[bytes] | None = None) -> AsyncIterator[WorkerRecord]:
    """A worker that reads a request and then does this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if heads is not None:
            heads.append(head)
        try:
            await answer(writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield WorkerRecord("wrk_1", "w", WorkerKind.WORKER, "vllm", f"http://127.0.0.1:{port}", (), 1, org_id="org_1", secret="s" * 40)


def sends(body: bytes, status: str = "200 OK", headers: str = "") -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body)
        await writer.drain()

    return answer


async def test_last_lines_come_without_control_characters() -> None:
    lines = ["old", "a\x1b[31m red\r\n", "tab\tand é", "x" * 10_000]
    heads: list[bytes] = []
    async with worker(sends(json.dumps({"lines": lines}).encode()), heads) as record:
        found = await tail(record, 3)
    assert found == ["a\ufffd[31m red\ufffd\ufffd", "tab\tand é", "x" * 4_000]
    assert b"accept-encoding: identity" in heads[0].lower()


async def test_compressed_tail_is_refused() -> None:
    bomb = gzip.compress(b'{"lines": ["' + b"a" * 50_000_000 + b'"]}')
    async with worker(sends(bomb, headers="content-encoding: gzip\r\n")) as record:
        with pytest.raises(UpstreamFailed):
            await tail(record, 200)


async def test_endless_tail_is_cut_off() -> None:
    sent = 0

    async def answer(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n")
        while True:
            writer.write(b"a" * 65_536)
            await writer.drain()
            sent += 65_536

    async with worker(answer) as record:
        with pytest.raises(UpstreamFailed):
            await tail(record, 200)
    assert sent < 40_000_000


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"lines": [1]}', b'{"lines": ["\xff"]}', b"not json"])
async def test_answer_that_is_no_tail_is_a_failure_of_the_worker(body: bytes) -> None:
    async with worker(sends(body)) as record:
        with pytest.raises(UpstreamFailed):
            await tail(record, 5)


async def test_engine_without_a_log_is_not_found() -> None:
    async with worker(sends(b"", "404 Not Found")) as record:
        with pytest.raises(NotFound):
            await tail(record, 5)


async def test_worker_where_it_may_not_be_is_not_asked() -> None:
    heads: list[bytes] = []
    async with worker(sends(b'{"lines": ["secret"]}'), heads) as record:
        with pytest.raises(UpstreamFailed):
            await tail(record, 5, Reach())
        assert heads == []
        assert await tail(record, 5, Reach(["127.0.0.0/8"])) == ["secret"]
