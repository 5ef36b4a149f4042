"""Uploads as the network brings them: slowly, broken off, and what a crash left of them."""

import asyncio
from pathlib import Path

from tests.support.gateway import Platform, platform, raw
from tests.support.waiting import until

HEAD = (
    b'--xyz\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
)
TAIL = b"\r\n--xyz--\r\n"
PIECE = 64 << 10


def head(running: Platform, size: int) -> bytes:
    lines = [
        "POST /v1/files HTTP/1.1",
        "host: gateway",
        f"authorization: Bearer {running.first.api_key}",
        "content-type: multipart/form-data; boundary=xyz",
        f"content-length: {len(HEAD) + size + len(TAIL)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + HEAD


def stored(directory: Path) -> list[Path]:
    return [path for path in (directory / "files").rglob("*") if path.is_file()]


async def test_a_long_upload_may_take_longer_than_a_short_body(tmp_path: Path) -> None:
    """One that comes at a pace goes on; one that stands still is refused in time."""
    async with platform(tmp_path, http={"body_timeout_seconds": 0.5}) as running:
        async with raw(running.port) as steady, raw(running.port) as still:
            await steady.send(head(running, 5 * PIECE))
            await still.send(head(running, 5 * PIECE))
            for _ in range(5):
                await steady.send(b"x" * PIECE)
                await asyncio.sleep(0.5)
            await steady.send(TAIL)
            assert (await steady.answer()).status == 200
            assert (await still.answer()).status == 408
        await until(lambda: len(stored(tmp_path)) == 1)


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    async with platform(tmp_path) as running:
        async with raw(running.port) as client:
            await client.send(head(running, 50 * PIECE) + b"x" * PIECE)
            await until(lambda: stored(tmp_path))
        await until(lambda: not stored(tmp_path))
        assert (await running.http.get("/v1/files")).json()["data"] == []


async def test_files_left_by_a_crash_are_removed_at_startup(tmp_path: Path) -> None:
    folder = tmp_path / "files" / "aa"
    folder.mkdir(parents=True)
    (folder / "file-0aa.0123456789ab.part").write_bytes(b"half")
    (folder / "file-0aa").write_bytes(b"whole, but in no record")
    async with platform(tmp_path) as running:
        assert stored(tmp_path) == []
        kept = await running.http.post("/v1/files", data={"purpose": "user_data"}, files={"file": ("f", b"x")})
        assert kept.status_code == 200
    async with platform(tmp_path):
        assert [path.name for path in stored(tmp_path)] == [kept.json()["id"]]
