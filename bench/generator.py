"""The built-in load generator, for machines without wrk: clients that ask again as soon as they have their answer.

A process of its own, so that what it costs can be told from what the contender costs. One JSON object on standard input says what to do
(the key is not seen in a list of processes), one on standard output what came of it.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import uvloop

from bench.figures import percentile


@dataclass
class Tally:
    stop_at: float
    request: bytes
    seconds: list[float] = field(default_factory=list)
    bad: int = 0

    @property
    def over(self) -> bool:
        return time.perf_counter() >= self.stop_at


class Client(asyncio.Protocol):
    """One connection; it closes when the time is over, or when the server wants it."""

    def __init__(self, tally: Tally, closed: "asyncio.Future[None]") -> None:
        self._tally = tally
        self._closed = closed
        self._asked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self._ask()

    def _ask(self) -> None:
        self._asked_at = time.perf_counter()
        self._transport.write(self._tally.request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() == 200:
            self._tally.seconds.append(time.perf_counter() - self._asked_at)
        else:
            self._tally.bad += 1
        self._asked_at = 0.0
        if self._tally.over or not self._parser.should_keep_alive():
            self._transport.close()
        else:
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._asked_at and not self._tally.over:
            self._tally.bad += 1
        if not self._closed.done():
            self._closed.set_result(None)


async def _client(tally: Tally, host: str, port: int) -> None:
    """A client dials again when its connection ends before the time does."""
    loop = asyncio.get_running_loop()
    while not tally.over:
        closed: asyncio.Future[None] = loop.create_future()
        transport, _ = await loop.create_connection(lambda closed=closed: Client(tally, closed), host, port)  # type: ignore[misc]  # a default binds the loop's variable
        try:
            async with asyncio.timeout(tally.stop_at - time.perf_counter() + 1):
                await closed
        except TimeoutError:
            transport.abort()


async def run(order: dict[str, Any]) -> dict[str, float]:
    url, body = urlsplit(order["url"]), order["body"].encode()
    head = [f"POST {url.path} HTTP/1.1", f"Host: {url.netloc}", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in order["headers"].items()]
    tally = Tally(0.0, "\r\n".join([*head, "", ""]).encode() + body)
    started, cpu = time.perf_counter(), time.process_time()
    tally.stop_at = started + order["seconds"]
    await asyncio.gather(*(_client(tally, url.hostname or "", url.port or 80) for _ in range(order["connections"])))
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    p50, p99 = (percentile(tally.seconds, share) * 1000 if tally.seconds else 0.0 for share in (0.5, 0.99))
    return {"requests": len(tally.seconds), "seconds": took, "p50_ms": p50, "p99_ms": p99, "bad": tally.bad, "cpu_seconds": cpu}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.load(sys.stdin)))))
