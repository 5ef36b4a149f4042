"""What every place for large values owes: asked of each member of the family on disk."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.domain.errors import NotFound, StorageFull
from penstock.domain.ports import Blobs
from penstock.storage.blobs import BLOBS, local, make_blobs

MEMBERS = BLOBS.names()


@pytest.fixture(params=MEMBERS)
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    made = make_blobs(request.param, tmp_path / "blobs")
    await made.open()
    await made.open()
    return made


async def put(blobs: Blobs, name: str, *pieces: bytes) -> None:
    writer = await blobs.create(name)
    for piece in pieces:
        await writer.write(piece)
    await writer.commit()
    await writer.discard()


async def whole(blobs: Blobs, name: str, start: int = 0, length: int | None = None) -> bytes:
    return b"".join([piece async for piece in blobs.read(name, start, length)])


async def test_blob_is_read_back_as_it_was_written(blobs: Blobs) -> None:
    large = bytes(range(256)) * 5000
    await put(blobs, "file-aa", b"one ", b"two")
    await put(blobs, "file-bb", large, large)
    await put(blobs, "file-cc")
    assert await whole(blobs, "file-aa") == b"one two"
    assert await whole(blobs, "file-bb") == large * 2
    assert await whole(blobs, "file-cc") == b""


@pytest.mark.parametrize(("start", "length", "expected"), [(4, None, b"two"), (0, 3, b"one"), (2, 3, b"e t"), (6, 100, b"o"), (7, 5, b"")])
async def test_a_part_is_read(blobs: Blobs, start: int, length: int | None, expected: bytes) -> None:
    await put(blobs, "file-aa", b"one two")
    assert await whole(blobs, "file-aa", start, length) == expected


async def test_unfinished_blob_is_not_visible_to_readers(blobs: Blobs) -> None:
    writer = await blobs.create("file-aa")
    await writer.write(b"half")
    with pytest.raises(NotFound):
        await whole(blobs, "file-aa")
    assert await blobs.names(0.0) == []
    await writer.discard()
    assert await blobs.forget_unfinished(0.0) == 0


async def test_the_last_of_two_writers_wins(blobs: Blobs) -> None:
    first, second = await blobs.create("file-aa"), await blobs.create("file-aa")
    await first.write(b"first")
    await second.write(b"second")
    await first.commit()
    await second.commit()
    assert await whole(blobs, "file-aa") == b"second"
    assert await blobs.names(0.0) == ["file-aa"]


async def test_unfinished_blob_is_removed_once_old_enough(blobs: Blobs) -> None:
    left = await blobs.create("file-aa")
    await left.write(b"half")
    assert await blobs.forget_unfinished(3600.0) == 0
    assert await blobs.forget_unfinished(0.0) == 1
    assert await blobs.forget_unfinished(0.0) == 0
    await left.discard()


async def test_one_is_deleted(blobs: Blobs) -> None:
    await put(blobs, "file-aa", b"x")
    await blobs.delete("file-aa")
    await blobs.delete("file-aa")
    assert await blobs.names(0.0) == []
    with pytest.raises(NotFound):
        await whole(blobs, "file-aa")


async def test_names_by_age(blobs: Blobs) -> None:
    await put(blobs, "file-aa", b"x")
    assert await blobs.names(3600.0) == []
    assert await blobs.names(0.0) == ["file-aa"]


@pytest.mark.parametrize("name", ["../etc", "a/b", "", "file-ä", "a.b", "-"])
async def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError):
        await make_blobs("local", tmp_path).create(name)


async def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    blobs = make_blobs("local", tmp_path)
    await blobs.open()
    await put(blobs, "file-aa", b"before")
    writer = await blobs.create("file-bb")
    with full_disk(), pytest.raises(StorageFull):
        await writer.write(b"x" * 1_000_000)
    await writer.discard()
    assert files(tmp_path) == ["file-aa"]
    assert await whole(blobs, "file-aa") == b"before"
    await put(blobs, "file-bb", b"after")
    assert await whole(blobs, "file-bb") == b"after"


def files(directory: Path) -> list[str]:
    return [path.name for path in directory.rglob("*") if path.is_file()]


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)


async def test_the_last_of_the_disk_is_not_for_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = make_blobs("local", tmp_path)
    await blobs.open()
    await put(blobs, "file-aa", b"one")
    writer = await blobs.create("file-bb")
    monkeypatch.setattr(local, "_RESERVED_SHARE", 1.0)
    monkeypatch.setattr(local, "_MOST_RESERVED_BYTES", 2**62)
    with pytest.raises(StorageFull):
        await blobs.create("file-cc")
    await writer.write(b"x")
    with pytest.raises(StorageFull):
        await writer.write(bytes(local._LOOK_EVERY_BYTES))
    await writer.discard()
    assert await whole(blobs, "file-aa") == b"one"
    await blobs.delete("file-aa")
