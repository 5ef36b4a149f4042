"""How many requests wait in the queue, over time, as `/metrics` tells while the load runs."""

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

_WAITING = re.compile(rb"^penstock_class_waiting\{([^}]*)\} ([0-9.e+]+)$", re.MULTILINE)
_CLASS = re.compile(rb'service_class="(\w+)"')
SAMPLE_SECONDS = 0.1
Series = list[tuple[float, float]]
"""The middle of each bin, and what was there."""


@dataclass(frozen=True, slots=True)
class Sample:
    at: float
    """Seconds since the watch began."""
    waiting: Mapping[str, int]
    """Requests in the queue, by class."""

    def of(self, groups: Collection[str]) -> int:
        return sum(count for name, count in self.waiting.items() if name in groups)


class Watch:
    """`async with` it while the load runs; `samples` are there afterwards."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._request = f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        self.samples: list[Sample] = []

    async def __aenter__(self) -> "Watch":
        self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        self._task = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._streams[1].close()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        began = due = loop.time()
        reader, writer = self._streams
        while True:
            at = loop.time()
            writer.write(self._request)
            self.samples.append(Sample(at - began, waiting(await _body(reader))))
            due = max(due + SAMPLE_SECONDS, loop.time())
            await asyncio.sleep(due - loop.time())


async def _body(reader: asyncio.StreamReader) -> bytes:
    """Raises ValueError for an answer that is none."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        raise ValueError(head.partition(b"\r\n")[0].decode())
    at = head.find(b"content-length:")
    return await reader.readexactly(int(head[at + 15 :].split(b"\r\n")[0]))


def waiting(metrics: bytes) -> dict[str, int]:
    """By class, of every model."""
    found: dict[str, int] = {}
    for labels, value in _WAITING.findall(metrics):
        named = _CLASS.search(labels)
        if named is not None:
            name = named[1].decode()
            found[name] = found.get(name, 0) + int(float(value))
    return found


def mean(runs: Sequence[Sequence[Sample]], groups: Collection[str], seconds: float, bin_seconds: float) -> Series:
    """Over all of the runs: the middle of each bin, and how many of these classes waited; bins that nobody looked at are left out."""
    found = []
    for number in range(int(seconds / bin_seconds)):
        start = number * bin_seconds
        part = [one.of(groups) for run in runs for one in run if start <= one.at < start + bin_seconds]
        if part:
            found.append((start + bin_seconds / 2, sum(part) / len(part)))
    return found


def relative(runs: Sequence[Sequence[Sample]], groups: Collection[str], step_at: float, until: float, bin_seconds: float) -> list[Series]:
    """Each run beside its own level in the second half of the time after the step: that is another one in each, by who asks just then.

    Added up as they are, the one or two longest lines would be all that is seen. Runs in which nobody waited are left out.
    """
    found = []
    for run in runs:
        series = mean([run], groups, until, bin_seconds)
        later = [value for at, value in series if at >= (step_at + until) / 2]
        if level := sum(later) / len(later) if later else 0.0:
            found.append([(at, value / level) for at, value in series])
    return found
