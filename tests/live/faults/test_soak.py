"""Very many requests with mixed faults: the ledger equals the upstream's own count to the token, and memory stays where it was."""

import asyncio
import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.platform import Platform, eventually, running
from tests.support.sources import ROOT

CLIENTS = 16
LOTS = {"good": 90, "error": 3, "rubbish": 2, "cut": 3, "wait": 2}
MOST_GROWTH = 0.01
COUNTS = [pytest.param(4_000, id="bounded"), pytest.param(1_000_000, id="soak", marks=[pytest.mark.soak, pytest.mark.timeout(0)])]


@pytest.mark.fault(
    "Very many requests with mixed faults: errors, invalid answers, cut streams, clients that leave",
    "the ledger equals the upstream's own count to the token; memory stays where it was",
)
@pytest.mark.parametrize("count", COUNTS)
def test_many_requests_and_faults(tmp_path: Path, count: int, figure: Callable[[str], None]) -> None:
    patient = {"PENSTOCK_ROUTING__EJECT_AFTER": "1000000"}
    with upstream() as (port, stop), running(Platform(tmp_path, *flags(port), environment=patient)) as platform:
        eventually(lambda: [model["id"] for model in platform.control.get("/v1/models")["data"]] == ["m"], 20)
        statuses: Counter[str] = Counter()
        # Buffers of a busy moment grow to what the busiest has needed so far: that takes some hundred thousand requests.
        asyncio.run(traffic(platform, count // 2, statuses))
        before = resident_bytes(platform)
        asyncio.run(traffic(platform, count - count // 2, statuses))
        after = resident_bytes(platform)
        told = stop()
        eventually(lambda: totals(platform)["requests"] == told["requests"], 60, lambda: f"{totals(platform)} of {told}")
        counted = totals(platform)
    assert (counted["prompt_tokens"], counted["completion_tokens"]) == (told["prompt"], told["completion"])
    assert statuses.total() == count
    assert set(statuses) == {"answered", "error event", "left", "502"}
    growth = after / before - 1
    assert growth <= (MOST_GROWTH if count >= 100_000 else 0.2)
    tokens, memory = counted["completion_tokens"], f"{before >> 20} to {after >> 20} MiB ({growth:+.1%})"
    figure(f"{count:,} requests, {tokens:,} tokens equal; memory over the second half {memory}")


def flags(port: int) -> list[str]:
    return ["--workers", "0", "--upstream", f"m=http://127.0.0.1:{port}"]


@contextmanager
def upstream() -> Iterator[tuple[int, Callable[[], dict[str, int]]]]:
    """Its port, and how to stop it and hear its counts."""
    command = [sys.executable, "-m", "tests.live.faults.faulty_upstream"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        assert process.stdout is not None

        def stop() -> dict[str, int]:
            process.send_signal(signal.SIGTERM)
            found: dict[str, int] = json.loads(process.communicate(timeout=20)[0])
            return found

        try:
            yield int(process.stdout.readline()), stop
        finally:
            process.kill()


def resident_bytes(platform: Platform) -> int:
    assert platform._process is not None
    return int(Path(f"/proc/{platform._process.pid}/statm").read_text().split()[1]) * 4096


def totals(platform: Platform) -> dict[str, int]:
    found: dict[str, int] = platform.control.get("/api/usage")["totals"]
    return found


async def traffic(platform: Platform, count: int, statuses: Counter[str]) -> None:
    host, port = platform.root.removeprefix("http://").split(":")
    lots = iter(random.Random(count).choices(list(LOTS), list(LOTS.values()), k=count))
    turns = iter(range(count))

    async def client() -> None:
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        for what, turn in zip(lots, turns, strict=False):
            if connection is None:
                connection = await asyncio.open_connection(host, int(port))
            # A reader who leaves, and a stream that is cut, need a stream.
            stream = what in ("cut", "wait") or turn % 3 == 0
            status, usable = await ask(*connection, platform.api_key, what, stream=stream)
            statuses[status] += 1
            if not usable:
                connection[1].close()
                connection = None
        if connection is not None:
            connection[1].close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str, what: str, *, stream: bool) -> tuple[str, bool]:
    """How it ended, and whether the connection can be used again."""
    body = json.dumps({"model": "m", "max_tokens": 20, "stream": stream, "messages": [{"role": "user", "content": what}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    headers = await reader.readuntil(b"\r\n\r\n")
    status = headers[9:12].decode()
    if b"content-length: " in headers:
        await reader.readexactly(int(headers.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        return ("answered" if status == "200" else status), True
    if what == "wait":
        seen = b""
        while seen.count(b"word") < 5:
            seen += await reader.read(1 << 16)
        return "left", False
    text = await reader.readuntil(b"0\r\n\r\n")
    return ("error event" if b'"error"' in text else "answered"), True
