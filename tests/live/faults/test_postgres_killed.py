"""PostgreSQL is killed and restarted under load: known keys are served throughout, and every request is counted once."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.contract.storage.stores.test_faults import Cluster, cluster
from tests.live.platform import Platform, eventually, running

__all__ = ["cluster"]
BODY = {"model": "sim-small", "messages": [{"role": "user", "content": "Still there?"}], "max_tokens": 3}
READY_AGAIN_SECONDS = 5.0
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


@pytest.mark.timeout(180)
@pytest.mark.fault(
    "PostgreSQL killed and restarted under load",
    "no request of a known key fails; 503 with Retry-After for what must be durable; ready again within 5 s",
)
def test_postgres_is_killed_and_restarted_under_load(cluster: Cluster, tmp_path: Path, figure: Callable[[str], None]) -> None:
    with running(Platform(tmp_path, "--workers", "1", "--store", cluster.url)) as platform, http(platform, platform.api_key) as one:
        unseen = one.post("/api/keys", json={"name": "never used"}).raise_for_status().json()["secret"]
        with load(platform) as statuses:
            eventually(lambda: statuses[200] > 50, 20)
            cluster.kill()
            eventually(lambda: one.get("/readyz").status_code == 503, 10)
            before = statuses[200]
            eventually(lambda: statuses[200] > before + 100, 20)
            refused = one.post("/v1/chat/completions", json=BODY, headers={"authorization": f"Bearer {unseen}"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
            assert int(refused.headers["retry-after"]) >= 1
            written = one.post("/api/keys", json={"name": "not now"})
            assert (written.status_code, written.json()["code"]) == (503, "store_unavailable")
            cluster.start()
            began = time.monotonic()
            eventually(lambda: one.get("/readyz").status_code == 200, READY_AGAIN_SECONDS + 5)
            took = time.monotonic() - began
            assert took <= READY_AGAIN_SECONDS
            figure(f"ready {took:.1f} s after the restart")
            before = statuses[200]
            eventually(lambda: statuses[200] > before + 50, 20)
        assert set(statuses) == {200}
        assert one.post("/v1/chat/completions", json=BODY, headers={"authorization": f"Bearer {unseen}"}).status_code == 200
        total = statuses[200] + 1
        eventually(lambda: _counted(one) == total, 20, lambda: f"{_counted(one)} of {total}")


def _counted(one: httpx.Client) -> int:
    totals = one.get("/api/usage").raise_for_status().json()["totals"]
    assert totals["completion_tokens"] == 3 * totals["requests"]
    return int(totals["requests"])
