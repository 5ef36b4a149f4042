"""The clock of the machine is set an hour forward, then two back, under a running platform: nothing is early, nothing is lost.

With libfaketime (Debian: `libfaketime`), which moves the wall clock of processes and leaves the monotonic one alone, as the kernel does.
"""

import os
import time
from pathlib import Path

import pytest

from tests.live.platform import Platform, eventually, ready_workers, running
from tests.support.gateway_load import BODY, CHAT, answered, http, recorded

HOUR = 3600.0
LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@pytest.mark.timeout(180)
@pytest.mark.fault("Clock set an hour forward and two back", "nothing expires early, workers stay, nothing is lost")
def test_an_hour_forward_and_two_back(tmp_path: Path) -> None:
    if not LIBRARY.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("CI has libfaketime")
        pytest.skip("libfaketime is not installed")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    environment = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with running(Platform(tmp_path, "--workers", "2", environment=environment)) as platform, http(platform, platform.api_key) as one:
        done = [answered(one)]
        soon = one.post("/api/keys", json={"name": "an hour and a half", "expires_in_seconds": int(1.5 * HOUR)})
        assert soon.status_code == 201
        for shift in (HOUR, -HOUR, 0.0):
            with one.stream("POST", CHAT, json={**BODY, "stream": True, "max_tokens": 30}) as stream:
                lines = stream.iter_lines()
                next(lines)
                set_clock(clock, shift)
                assert "data: [DONE]" in list(lines)
                done.append(stream.headers["x-request-id"])
            eventually(lambda moved=shift: abs(now_there(one) - time.time() - moved) < 60, 10)  # type: ignore[misc]
            done += [answered(one) for _ in range(20)]
            assert len(ready_workers(platform.control)) == 2
            # Heartbeats are signed with the time: another one is accepted after each change.
            seen = newest_heartbeat(platform)
            eventually(lambda before=seen: newest_heartbeat(platform) != before, 15)  # type: ignore[misc]
            limits = one.post(CHAT, json=BODY).headers
            assert int(limits["x-ratelimit-remaining-requests"]) > 0
            with http(platform, soon.json()["secret"]) as other:
                assert other.post(CHAT, json=BODY).status_code == 200
        eventually(lambda: set(done) <= recorded(one), 20)
        assert one.get("/readyz").status_code == 200


def set_clock(clock: Path, seconds: float) -> None:
    """In one step: a half-written file would be another time."""
    draft = clock.with_suffix(".draft")
    draft.write_text(f"{seconds:+.0f}")
    draft.replace(clock)


def now_there(one: object) -> float:
    """The platform's wall clock: when it made the answer."""
    response = one.post(CHAT, json=BODY)  # type: ignore[attr-defined]
    return float(response.json()["created"])


def newest_heartbeat(platform: Platform) -> float:
    return max(float(worker["last_seen_at"]) for worker in platform.control.get("/api/workers")["data"])
