"""The rules of files: whose they are, how large they may be together, when they expire, and what a crash leaves."""

from collections.abc import Collection

import pytest

from penstock.domain.clock import ManualClock
from penstock.domain.durable.files import MONTH_SECONDS, FileQuery, FileRecord, Purpose
from penstock.domain.errors import BadRequest, NotFound, PortUnavailable, QuotaExhausted, TooLarge
from penstock.durable.files.service import MIB, FileService
from penstock.storage.blobs.memory import MemoryBlobs

ORG, OTHER = "org_1", "org_2"


class Records:
    """A store of records in memory; `broken` makes it refuse new ones."""

    def __init__(self) -> None:
        self.records: dict[str, FileRecord] = {}
        self.broken = False

    async def add(self, record: FileRecord) -> None:
        if self.broken:
            raise PortUnavailable("gone")
        self.records[record.id] = record

    async def get(self, org_id: str, file_id: str) -> FileRecord | None:
        found = self.records.get(file_id)
        return found if found is not None and found.org_id == org_id else None

    async def page(self, query: FileQuery) -> list[FileRecord]:
        return [record for record in self.records.values() if record.org_id == query.org_id][: query.limit]

    async def stored_bytes(self, org_id: str) -> int:
        return sum(record.size_bytes for record in self.records.values() if record.org_id == org_id)

    async def remove(self, org_id: str, file_id: str) -> bool:
        found = await self.get(org_id, file_id) is not None
        if found:
            del self.records[file_id]
        return found

    async def expired(self, now: float, limit: int) -> list[FileRecord]:
        return [record for record in self.records.values() if record.expires_at is not None and record.expires_at <= now][:limit]

    async def known(self, ids: Collection[str]) -> set[str]:
        assert len(ids) <= 1_000
        return self.records.keys() & set(ids)


class Place:
    """A service over memory, with ids that count up."""

    def __init__(self, max_bytes: int = 10, max_org_bytes: int = 25) -> None:
        self.store, self.blobs, self.clock = Records(), MemoryBlobs(), ManualClock()
        self._number = 0
        self.service = FileService(
            self.store, self.blobs, self.clock, max_bytes=max_bytes, max_org_bytes=max_org_bytes, new_id=self._next_id
        )

    def _next_id(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}_{self._number}_x"

    async def upload(
        self, *pieces: bytes, org_id: str = ORG, purpose: Purpose = Purpose.USER_DATA, lasts: float | None = None
    ) -> FileRecord:
        upload = await self.service.begin(org_id)
        for piece in pieces:
            await upload.write(piece)
        return await upload.keep("name.txt", purpose, lasts)

    async def content(self, record: FileRecord, start: int = 0, length: int | None = None) -> bytes:
        return b"".join([piece async for piece in self.service.content(record, start, length)])


async def test_uploaded_file_has_its_record_and_its_content() -> None:
    place = Place()
    record = await place.upload(b"abc", b"def")
    assert record == FileRecord("file-1_x", ORG, "name.txt", Purpose.USER_DATA, 6, place.clock.time(), None)
    assert await place.service.file(ORG, record.id) == record
    assert await place.content(record) == b"abcdef"
    assert await place.content(record, 2, 3) == b"cde"
    assert await place.content(record, 4) == b"ef"


async def test_file_of_another_organisation_is_not_found() -> None:
    place = Place()
    record = await place.upload(b"abc")
    for call in (place.service.file(OTHER, record.id), place.service.delete(OTHER, record.id)):
        with pytest.raises(NotFound) as raised:
            await call
        assert (raised.value.param, str(raised.value)) == ("id", "No such File object: file-1_x")
    assert await place.content(record) == b"abc"


async def test_deleted_file_is_gone_with_its_content() -> None:
    place = Place()
    record = await place.upload(b"abc")
    await place.service.delete(ORG, record.id)
    assert await place.blobs.names(0.0) == []
    with pytest.raises(NotFound):
        await place.service.file(ORG, record.id)


async def test_file_may_be_as_large_as_the_limit() -> None:
    place = Place(max_bytes=10)
    assert (await place.upload(b"x" * 10)).size_bytes == 10


async def test_file_larger_than_the_limit_is_refused_while_it_comes_in() -> None:
    place = Place(max_bytes=10)
    upload = await place.service.begin(ORG)
    await upload.write(b"x" * 10)
    with pytest.raises(TooLarge) as raised:
        await upload.write(b"y")
    assert (raised.value.param, raised.value.retry, str(raised.value)) == ("file", False, "The file is larger than 10 bytes.")


async def test_file_that_exceeds_what_its_organisation_has_left_is_refused_with_the_quota() -> None:
    place = Place(max_bytes=10, max_org_bytes=25)
    await place.upload(b"x" * 10)
    await place.upload(b"x" * 10)
    await place.upload(b"x" * 10, org_id=OTHER)
    upload = await place.service.begin(ORG)
    await upload.write(b"x" * 5)
    with pytest.raises(QuotaExhausted) as raised:
        await upload.write(b"y")
    assert (raised.value.param, raised.value.retry) == ("file", False)
    assert "may have 25 bytes together" in str(raised.value)


async def test_organisation_without_room_is_refused_before_anything_is_written() -> None:
    place = Place(max_bytes=10, max_org_bytes=20)
    await place.upload(b"x" * 10)
    await place.upload(b"x" * 10)
    with pytest.raises(QuotaExhausted) as raised:
        await place.service.begin(ORG)
    assert (raised.value.param, raised.value.retry) == ("file", False)
    assert "may have 20 bytes together" in str(raised.value)
    assert (await place.upload(b"x", org_id=OTHER)).size_bytes == 1, "the others have theirs"


async def test_uploads_at_the_same_time_share_what_is_left() -> None:
    place = Place(max_bytes=10, max_org_bytes=12)
    first, second = await place.service.begin(ORG), await place.service.begin(ORG)
    await first.write(b"x" * 8)
    with pytest.raises(QuotaExhausted):
        await second.write(b"x" * 8)
    await second.discard()
    third = await place.service.begin(ORG)
    await third.write(b"x" * 4)
    with pytest.raises(QuotaExhausted):
        await place.service.begin(ORG)
    await first.discard()
    assert (await third.keep("name.txt", Purpose.USER_DATA)).size_bytes == 4
    assert (await place.upload(b"x" * 8)).size_bytes == 8


async def test_plan_allows_less_than_the_gateway() -> None:
    place = Place(max_bytes=10, max_org_bytes=100)
    upload = await place.service.begin(ORG, plan_bytes=5)
    await upload.write(b"x" * 5)
    with pytest.raises(QuotaExhausted) as raised:
        await upload.write(b"y")
    assert "may have 5 bytes together" in str(raised.value)


async def test_file_of_our_own_is_not_refused_for_the_quota_and_keeps_its_id() -> None:
    place = Place(max_bytes=10, max_org_bytes=10)
    await place.upload(b"x" * 10)
    upload = await place.service.begin(ORG, "file-ours", max_bytes=15)
    await upload.write(b"y" * 15)
    record = await upload.keep("out.jsonl", Purpose.BATCH_OUTPUT)
    assert (record.id, upload.org_id, record.size_bytes) == ("file-ours", ORG, 15)
    another = await place.service.begin(ORG, "file-more", max_bytes=15)
    with pytest.raises(TooLarge) as raised:
        await another.write(b"y" * 16)
    assert str(raised.value) == "The file is larger than 15 bytes."


async def test_empty_file_is_refused() -> None:
    place = Place()
    with pytest.raises(BadRequest) as raised:
        await place.upload()
    assert (raised.value.param, str(raised.value)) == ("file", "The file is empty.")


@pytest.mark.parametrize(
    ("purpose", "lasts", "expected"),
    [
        (Purpose.USER_DATA, None, None),
        (Purpose.USER_DATA, 3600.0, 3600.0),
        (Purpose.BATCH, None, float(MONTH_SECONDS)),
        (Purpose.BATCH, 3600.0, 3600.0),
    ],
)
async def test_file_expires_when_its_owner_says_or_its_purpose_does(purpose: Purpose, lasts: float | None, expected: float | None) -> None:
    place = Place()
    record = await place.upload(b"x", purpose=purpose, lasts=lasts)
    assert record.expires_at == (None if expected is None else place.clock.time() + expected)


async def test_expired_file_is_neither_found_nor_listed() -> None:
    place = Place()
    expiring, lasting = await place.upload(b"x", lasts=3600.0), await place.upload(b"y")
    later = await place.upload(b"z", lasts=7200.0)
    place.clock.advance(3599.0)
    assert await place.service.file(ORG, expiring.id) == expiring
    assert await place.service.files(FileQuery(ORG, 10)) == [expiring, lasting, later]
    place.clock.advance(1.0)
    with pytest.raises(NotFound) as raised:
        await place.service.file(ORG, expiring.id)
    assert str(raised.value) == f"No such File object: {expiring.id}"
    assert await place.service.files(FileQuery(ORG, 10)) == [lasting, later]


async def test_sweep_removes_expired_files_unfinished_uploads_and_orphans_and_counts_them() -> None:
    place = Place()
    await place.upload(b"x", lasts=10.0)
    kept = await place.upload(b"y")
    await place.service.begin(ORG)  # breaks off
    orphan = await place.service.begin(ORG)
    await orphan.write(b"z")
    await orphan.seal()  # and the process dies before its record is kept
    place.clock.advance(10.0)
    assert await place.service.sweep(0.0) == 3
    assert list(place.store.records) == [kept.id]
    assert await place.blobs.names(0.0) == [kept.id]
    assert await place.blobs.forget_unfinished(0.0) == 0
    assert await place.service.sweep(0.0) == 0


async def test_sweep_leaves_what_was_touched_a_short_while_ago() -> None:
    """Another gateway may be about to keep its record."""
    place = Place()
    orphan = await place.service.begin(ORG)
    await orphan.write(b"z")
    await orphan.seal()
    await place.service.begin(ORG)
    assert await place.service.sweep(3600.0) == 0
    assert await place.blobs.names(0.0) == [orphan.file_id]


async def test_sweep_of_many_blobs_asks_the_store_for_500_at_once() -> None:
    place = Place(max_org_bytes=10_000)
    for _ in range(1_001):
        await place.upload(b"x")
    first = next(iter(place.store.records))
    del place.store.records[first]
    assert await place.service.sweep(0.0) == 1
    assert len(await place.blobs.names(0.0)) == 1_000


async def test_file_whose_record_cannot_be_kept_leaves_no_content() -> None:
    place = Place()
    place.store.broken = True
    with pytest.raises(PortUnavailable):
        await place.upload(b"x")
    assert await place.blobs.names(0.0) == []


async def test_discarded_upload_leaves_nothing() -> None:
    place = Place()
    upload = await place.service.begin(ORG)
    await upload.write(b"x")
    await upload.discard()
    assert await place.blobs.forget_unfinished(0.0) == 0
    assert await place.blobs.names(0.0) == []


async def test_limits_are_200_mib_a_file_and_100_gib_an_organisation_unless_set() -> None:
    service = FileService(Records(), MemoryBlobs(), ManualClock())
    assert service.max_bytes == 200 * MIB == 209_715_200
    assert service.new_file_id().startswith("file-")
    upload = await service.begin(ORG)
    upload.size_bytes = 200 * MIB
    with pytest.raises(TooLarge):
        await upload.write(b"x")
    full = Records()
    full.records["file-1"] = FileRecord("file-1", ORG, "n", Purpose.USER_DATA, 100 * 1024 * MIB, 1.0)
    with pytest.raises(QuotaExhausted):
        await FileService(full, MemoryBlobs(), ManualClock()).begin(ORG)
