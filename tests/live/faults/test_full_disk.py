"""The disk under the whole platform is full: what must be durable is refused, everything else goes on, and it recovers by itself."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.live.platform import Platform, eventually, running
from tests.support.gateway_load import BODY, CHAT, answered, http, recorded


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], capture_output=True, text=True, check=False)
    if mounted.returncode:
        # Whole-process disk limits without the privilege to mount: tests/unit/storage/journal and
        # tests/contract/storage/stores have them by file size.
        pytest.skip(f"mounting needs a privilege: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def refuses_a_key(one: httpx.Client, attempts: list[httpx.Response]) -> bool:
    """Ask for one more key, each under a name of its own: an earlier one may still find a free page."""
    attempts.append(one.post("/api/keys", json={"name": f"key {len(attempts) + 1}"}))
    return attempts[-1].status_code == 503


@pytest.mark.timeout(180)
@pytest.mark.fault("Disk full under journal and store", "durable writes get 503, requests and reads go on, recovers by itself")
def test_writes_are_refused_and_everything_else_goes_on(small_disk: Path) -> None:
    with running(Platform(small_disk, "--workers", "1")) as platform, http(platform, platform.api_key) as one:
        done = [answered(one)]
        with one.stream("POST", CHAT, json={**BODY, "stream": True, "max_tokens": 60}) as stream:
            lines = stream.iter_lines()
            next(lines)
            filler = fill(small_disk)
            attempts: list[httpx.Response] = []
            eventually(lambda: refuses_a_key(one, attempts), 20)
            refused = attempts[-1]
            assert [json.loads(line[6:]) for line in lines if line.startswith("data: {")] != []
        assert stream.status_code == 200
        assert (refused.json()["code"], refused.headers["content-type"]) == ("store_unavailable", "application/problem+json")
        assert int(refused.headers["retry-after"]) >= 1
        done += [answered(one) for _ in range(50)]
        assert one.get("/api/me").status_code == 200
        assert one.get("/api/usage").status_code == 200
        # Usage goes to the journal's files, whose room was set aside, and then to memory: what would be lost in a crash is said.
        eventually(lambda: not ready_after_another(one, done), 20)
        assert one.get("/livez").status_code == 200

        filler.unlink()
        eventually(lambda: one.get("/readyz").status_code == 200, 20)
        assert one.post("/api/keys", json={"name": "there is room"}).status_code == 201
        done += [answered(one) for _ in range(5)]
        eventually(lambda: set(done) <= recorded(one), 20, lambda: f"{len(set(done) - recorded(one))} are not in the ledger")
        names = [key["name"] for key in one.get("/api/keys").json()["data"]]
        assert f"key {len(attempts)}" not in names


def ready_after_another(one: httpx.Client, done: list[str]) -> bool:
    done.append(answered(one))
    return one.get("/readyz").status_code == 200


def fill(place: Path) -> Path:
    """Until not a byte more fits."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(os.urandom(size))
            except OSError:
                continue
    return filler
