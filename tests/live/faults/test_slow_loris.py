"""Two thousand clients that never finish their heads: what the others wait does not grow.

Two platforms side by side are asked by turns, one of them beside the slow clients, so that whatever else this machine does hits both.
"""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.live.platform import Platform, running
from tests.support.gateway_load import BODY, CHAT, http

SLOW = 2000
REQUESTS = 1000
LARGEST_RATIO = 1.5
PATIENT = {"PENSTOCK_HTTP__HEADER_TIMEOUT_SECONDS": "600"}
"""So that the slow ones stay until the end."""


@pytest.mark.soak
@pytest.mark.fault("Slow loris: many heads that never end", "others do not notice")
def test_two_thousand_slow_clients(tmp_path: Path, figure: Callable[[str], None]) -> None:
    with ExitStack() as stack:
        calm, beset = (
            stack.enter_context(running(Platform(tmp_path / name, "--workers", "1", environment=PATIENT))) for name in ("calm", "beset")
        )
        first, second = (stack.enter_context(http(each, each.api_key)) for each in (calm, beset))
        with slow_clients(beset) as slow:
            for _ in range(100):
                seconds(first), seconds(second)
            pairs = [(seconds(first), seconds(second)) for _ in range(REQUESTS)]
            assert all(is_open(client) for client in slow)
    without, beside = (sorted(side)[REQUESTS * 99 // 100] * 1000 for side in zip(*pairs, strict=True))
    figure(f"{SLOW:,} slow clients: p99 of others {without:.1f} ms without, {beside:.1f} ms beside them")
    assert beside <= LARGEST_RATIO * without


def seconds(one: httpx.Client) -> float:
    began = time.perf_counter()
    assert one.post(CHAT, json=BODY).status_code == 200
    return time.perf_counter() - began


@contextmanager
def slow_clients(platform: Platform) -> Iterator[list[socket.socket]]:
    host, port = platform.root.removeprefix("http://").split(":")
    with ExitStack() as stack:
        found = []
        for number in range(SLOW):
            client = stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-slow: " + b"x" * (number % 100))
            client.setblocking(False)
            found.append(client)
        yield found


def is_open(client: socket.socket) -> bool:
    try:
        return bool(client.recv(1))
    except BlockingIOError:
        return True
