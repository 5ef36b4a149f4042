"""Requests to a platform that runs as a process: single ones, and a load without a pause."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.live.platform import Platform

BODY = {"model": "sim-small", "messages": [{"role": "user", "content": "Still there?"}], "max_tokens": 3}

CLIENTS = 4


@contextmanager
def load(platform: Platform) -> Iterator[Counter[int]]:
    """Requests without a pause; the statuses so far."""
    statuses: Counter[int] = Counter()
    stop = threading.Event()
    lock = threading.Lock()

    def client() -> None:
        with http(platform, platform.api_key) as one:
            while not stop.is_set():
                status = one.post("/v1/chat/completions", json=BODY).status_code
                with lock:
                    statuses[status] += 1

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def http(platform: Platform, key: str) -> httpx.Client:
    return httpx.Client(base_url=platform.root, headers={"authorization": f"Bearer {key}"}, timeout=30, trust_env=False)


CHAT = "/v1/chat/completions"


def answered(one: httpx.Client) -> str:
    response = one.post(CHAT, json=BODY)
    assert response.status_code == 200, response.text
    return response.headers["x-request-id"]


def recorded(one: httpx.Client) -> set[str]:
    return {row["request_id"] for row in one.get("/api/usage/records?limit=1000").json()["data"]}
