"""More than 30 % of the workers freeze together: nobody is given up, the others serve, and all come back without anyone's help."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.live.platform import Platform, eventually, ready_workers, running
from tests.support.gateway_load import http, load

WORKERS = 5
FROZEN = 2
IMPATIENT = {
    "PENSTOCK_ROUTING__SUSPECT_SECONDS": "1",
    "PENSTOCK_ROUTING__DEAD_SECONDS": "2",
    "PENSTOCK_UPSTREAM__FIRST_BYTE_SECONDS": "4",
    # All of the few requests in flight may be at the frozen ones.
    "PENSTOCK_ROUTING__RETRY_FLOOR": "8",
}


@pytest.mark.timeout(180)
@pytest.mark.fault(
    "40 % of the worker processes frozen and thawed", "no worker is marked dead, no request fails, all are ready again by themselves"
)
def test_two_of_five_freeze_and_thaw(tmp_path: Path) -> None:
    with running(Platform(tmp_path, "--workers", str(WORKERS), environment=IMPATIENT)) as platform:
        assert len(ready_workers(platform.control)) == WORKERS
        with load(platform) as statuses:
            eventually(lambda: statuses[200] > 50, 20)
            with frozen(pids(platform, FROZEN)):
                eventually(lambda: states(platform).count("suspect") == FROZEN, 20)
                before = statuses[200]
                # Long enough to be dead twice over, had not so many fallen silent together.
                eventually(lambda: statuses[200] > before + 200 and silence(platform) > 4.0, 30)
                assert sorted(states(platform)) == ["ready"] * (WORKERS - FROZEN) + ["suspect"] * FROZEN
            eventually(lambda: states(platform) == ["ready"] * WORKERS, 15)
        # What a frozen worker held was asked of another one.
        assert set(statuses) == {200}
        with http(platform, platform.api_key) as one:
            assert all(worker["in_flight"] == 0 for worker in one.get("/api/workers").json()["data"])


@contextmanager
def frozen(victims: list[int]) -> Iterator[None]:
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in victims:
            os.kill(pid, signal.SIGCONT)


def pids(platform: Platform, count: int) -> list[int]:
    """Of the first worker processes."""
    assert platform._process is not None
    children = Path(f"/proc/{platform._process.pid}/task/{platform._process.pid}/children").read_text().split()
    workers = [int(pid) for pid in children if b"sim-" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(workers) == WORKERS
    return workers[:count]


def listed(platform: Platform) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = platform.control.get("/api/workers")["data"]
    return found


def states(platform: Platform) -> list[str]:
    return sorted(worker["state"] for worker in listed(platform))


def silence(platform: Platform) -> float:
    """Seconds since the quietest worker was last heard of."""
    times = [float(worker["last_seen_at"]) for worker in listed(platform)]
    return max(times) - min(times)
