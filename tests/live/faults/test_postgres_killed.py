"""PostgreSQL is killed and restarted under load: known keys are served throughout, and every request is counted once."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.live.platform import Platform, eventually, running
from tests.support.gateway_load import BODY, http, load
from tests.support.postgres_cluster import Cluster, cluster

__all__ = ["cluster"]
READY_AGAIN_SECONDS = 5.0


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
