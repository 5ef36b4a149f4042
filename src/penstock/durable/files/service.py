"""The rules of files. A record in the store and a blob of the same id: the blob is there first and goes last.

So a crash can leave a blob without a record, which no caller sees and `sweep` removes, and never a record without its blob.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from penstock.domain.clock import Clock
from penstock.domain.durable.files import EXPIRES_BY_ITSELF, FileQuery, FileRecord, Purpose
from penstock.domain.errors import BadRequest, NotFound, QuotaExhausted, TooLarge
from penstock.domain.ids import new_id
from penstock.domain.ports import Blobs, BlobWriter, FileStore, NewFile

MIB = 1024 * 1024
_SWEPT_AT_ONCE = 500


class FileService:
    """Every method may raise PortUnavailable. Files of another organisation are files that there are not."""

    def __init__(
        self,
        store: FileStore,
        blobs: Blobs,
        clock: Clock,
        *,
        max_bytes: int = 200 * MIB,
        max_org_bytes: int = 100 * 1024 * MIB,
        new_id: Callable[[str], str] = new_id,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._new_id = new_id
        self.max_bytes = max_bytes
        self._max_org_bytes = max_org_bytes
        self._uploading: Counter[str] = Counter()
        """Bytes that have come in of files that have no record yet, by organisation."""

    def new_file_id(self) -> str:
        """OpenAI separates the prefix of a file's id by a hyphen, and programs look for it."""
        return self._new_id("file").replace("_", "-", 1)

    async def begin(self, org_id: str, file_id: str | None = None, max_bytes: int | None = None, plan_bytes: int | None = None) -> "Upload":
        """A new file whose content comes piece by piece. Raises StorageFull, QuotaExhausted.

        With `max_bytes` it is one of ours, which counts for its organisation but is not refused. `plan_bytes`: what the organisation's plan
        allows for all of its files, where that is less than the gateway's own bound.
        """
        most = self._max_org_bytes if plan_bytes is None else min(plan_bytes, self._max_org_bytes)
        left = None
        if max_bytes is None:
            left = most - await self._store.stored_bytes(org_id)
            if left - self._uploading[org_id] <= 0:
                raise _quota_exceeded(most)
        assigned_id = file_id or self.new_file_id()
        writer = await self._blobs.create(assigned_id)
        return Upload(self, writer, assigned_id, org_id, max_bytes or self.max_bytes, Room(left, _quota_exceeded(most)))

    def arriving(self, org_id: str, size_bytes: int) -> int:
        """So many more bytes of an organisation are on their way; how many there are now."""
        self._uploading[org_id] += size_bytes
        return self._uploading[org_id]

    def arrived(self, org_id: str, size_bytes: int) -> None:
        """An upload is over: its bytes are in a record, or gone."""
        self._uploading[org_id] -= size_bytes
        if self._uploading[org_id] <= 0:
            del self._uploading[org_id]

    async def file(self, org_id: str, file_id: str) -> FileRecord:
        """Raises NotFound."""
        found = await self._store.get(org_id, file_id)
        if found is None or (found.expires_at is not None and found.expires_at <= self._clock.time()):
            raise no_such_file(file_id)
        return found

    async def files(self, query: FileQuery) -> list[FileRecord]:
        """Without those that have expired, which `sweep` has yet to remove: a page may be that much shorter."""
        now = self._clock.time()
        return [record for record in await self._store.page(query) if record.expires_at is None or record.expires_at > now]

    async def delete(self, org_id: str, file_id: str) -> None:
        """Raises NotFound."""
        if not await self._store.remove(org_id, file_id):
            raise no_such_file(file_id)
        await self._blobs.delete(file_id)

    def content(self, record: FileRecord, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        return self._blobs.read(record.id, start, length)

    async def sweep(self, idle_seconds: float) -> int:
        """Remove what has expired, uploads that broke off, and blobs without a record; how many that were.

        `idle_seconds`: how long something must have lain untouched before it is removed; another gateway may still write it.
        """
        removed = await self._blobs.forget_unfinished(idle_seconds)
        for record in await self._store.expired(self._clock.time(), _SWEPT_AT_ONCE):
            if await self._store.remove(record.org_id, record.id):
                await self._blobs.delete(record.id)
                removed += 1
        for names in _chunks(await self._blobs.names(idle_seconds)):
            for orphan in set(names) - await self._store.known(names):
                await self._blobs.delete(orphan)
                removed += 1
        return removed

    async def _keep(self, upload: NewFile, org_id: str, filename: str, purpose: Purpose, expires_in_seconds: float | None) -> FileRecord:
        record = self.record(upload, org_id, filename, purpose, expires_in_seconds)
        try:
            await self._store.add(record)
        except BaseException:
            await self._blobs.delete(record.id)
            raise
        return record

    def record(self, upload: NewFile, org_id: str, filename: str, purpose: Purpose, expires_in_seconds: float | None = None) -> FileRecord:
        """What there is to know of a file that has come in."""
        now = self._clock.time()
        lasts = EXPIRES_BY_ITSELF.get(purpose) if expires_in_seconds is None else expires_in_seconds
        expires_at = None if lasts is None else now + lasts
        return FileRecord(upload.file_id, org_id, filename, purpose, upload.size_bytes, now, expires_at)


@dataclass(frozen=True, slots=True)
class Room:
    """What an organisation may still upload, all its uploads at this moment together."""

    bytes: int | None
    """None: it is not asked."""
    refusal: QuotaExhausted


class Upload:
    """A file that is coming in; it is not visible before `keep`. `discard` ends it in any case."""

    def __init__(self, service: FileService, writer: BlobWriter, file_id: str, org_id: str, max_bytes: int, room: Room) -> None:
        self._service = service
        self._writer = writer
        self._max_bytes = max_bytes
        self._room = room
        self._over = False
        self.file_id = file_id
        self.org_id = org_id
        self.size_bytes = 0

    async def write(self, data: bytes) -> None:
        """Raises TooLarge, QuotaExhausted, StorageFull."""
        self.size_bytes += len(data)
        arriving = self._service.arriving(self.org_id, len(data))
        if self.size_bytes > self._max_bytes:
            raise too_large(self._max_bytes)
        if self._room.bytes is not None and arriving > self._room.bytes:
            raise self._room.refusal
        await self._writer.write(data)

    async def seal(self) -> None:
        """The content is whole and durable; only its record is missing."""
        await self._writer.commit()

    async def keep(self, filename: str, purpose: Purpose, expires_in_seconds: float | None = None) -> FileRecord:
        """Raises BadRequest for an empty file, StorageFull."""
        if not self.size_bytes:
            raise BadRequest("The file is empty.", param="file")
        await self.seal()
        record = await self._service._keep(self, self.org_id, filename, purpose, expires_in_seconds)
        self._end()
        return record

    async def discard(self) -> None:
        """Also after `keep`, when there is nothing left to discard."""
        self._end()
        await self._writer.discard()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._service.arrived(self.org_id, self.size_bytes)


def no_such_file(file_id: str) -> NotFound:
    return NotFound(f"No such File object: {file_id}", param="id")


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"The file is larger than {limit} bytes.", param="file", retry=False)


def _quota_exceeded(limit: int) -> QuotaExhausted:
    return QuotaExhausted(f"The files of this organisation may have {limit} bytes together: delete some.", param="file", retry=False)


def _chunks(names: Iterable[str]) -> Iterable[list[str]]:
    rest = iter(names)
    while chunk := list(islice(rest, _SWEPT_AT_ONCE)):
        yield chunk
