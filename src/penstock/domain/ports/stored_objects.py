"""Where OpenAI's stored objects lie: the contents of files, and what is known of files, batches and answers.

Asynchronous; raises PortUnavailable. Objects of another organisation are objects that there are not.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Protocol

from penstock.domain.durable.batches import Batch, BatchStatus
from penstock.domain.durable.files import FileQuery, FileRecord, Purpose
from penstock.domain.durable.responses import StoredResponse


class BlobWriter(Protocol):
    """A blob that is being written; nobody sees it before `commit`. Raises StorageFull, PortUnavailable; then only `discard` is left."""

    async def write(self, data: bytes) -> None: ...

    async def commit(self) -> None:
        """Durable, and there under its name, when this returns. It replaces an older one of that name."""
        ...

    async def discard(self) -> None:
        """Leave nothing behind; after `commit` it does nothing."""
        ...


class Blobs(Protocol):
    """Large values by name (letters, digits, `-`, `_`). Constructing does nothing; `open` prepares."""

    async def open(self) -> None: ...

    async def create(self, name: str) -> BlobWriter: ...

    def read(self, name: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` on, piece by piece; None: to the end. Raises NotFound at the first piece."""
        ...

    async def delete(self, name: str) -> None:
        """Nothing happens when there is none."""
        ...

    async def names(self, older_than_seconds: float) -> Sequence[str]:
        """Those that were committed at least that long ago."""
        ...

    async def forget_unfinished(self, idle_seconds: float) -> int:
        """Remove what a writer left that never came to its end and has not written for so long; how many that were."""
        ...


class FileStore(Protocol):
    """For the records of files."""

    async def add_file(self, record: FileRecord) -> None: ...

    async def file(self, org_id: str, file_id: str) -> FileRecord | None: ...

    async def files(self, query: FileQuery) -> list[FileRecord]: ...

    async def stored_bytes(self, org_id: str) -> int:
        """Of all its files."""
        ...

    async def remove_file(self, org_id: str, file_id: str) -> bool: ...

    async def expired_files(self, now: float, limit: int) -> list[FileRecord]:
        """Of every organisation."""
        ...

    async def known_files(self, ids: Collection[str]) -> set[str]:
        """Which of these there are, in any organisation; at most 1,000 at once."""
        ...


class BatchStore(Protocol):
    """For batches. Every change is made from a status that the batch must still have, so that each happens once."""

    async def add_batch(self, batch: Batch) -> None: ...

    async def batch(self, org_id: str, batch_id: str) -> Batch | None: ...

    async def batches(self, org_id: str, limit: int, after: str | None = None) -> list[Batch]:
        """Newest first."""
        ...

    async def change_batch(self, batch: Batch, was: BatchStatus, files: Sequence[FileRecord] = ()) -> bool:
        """Replace it, and add its files, in one transaction; False, and nothing is written, when its status is not `was` any more."""
        ...

    async def claim_batches(self, owner: str, now: float, until: float, limit: int) -> list[Batch]:
        """Of every organisation: those that are not over and that nobody else works on; they are the owner's for at least half of that."""
        ...


class ResponseStore(Protocol):
    """For kept answers."""

    async def add_response(self, response: StoredResponse) -> None: ...

    async def response(self, org_id: str, response_id: str) -> StoredResponse | None: ...

    async def response_chain(self, org_id: str, response_id: str, limit: int) -> list[StoredResponse]:
        """It and those that it continues, the oldest first; the first has no `previous_id`, unless the chain is broken or longer."""
        ...

    async def finish_response(self, response: StoredResponse) -> bool:
        """Replace one that is not over yet; False, and nothing is written, when it is, or is gone."""
        ...

    async def remove_response(self, org_id: str, response_id: str) -> bool: ...

    async def unfinished_responses(self, limit: int) -> list[StoredResponse]:
        """Of every organisation: those that a task makes and that are not over, oldest first."""
        ...

    async def forget_responses(self, now: float, limit: int) -> int:
        """Remove those that have expired; how many that were."""
        ...


class StoredObjects(FileStore, BatchStore, ResponseStore, Protocol):
    """All of it."""


class NewFile(Protocol):
    """A file that is being written; nobody sees it before its record is kept."""

    file_id: str
    size_bytes: int

    async def write(self, data: bytes) -> None: ...

    async def seal(self) -> None:
        """The content is whole and durable; only its record is missing."""
        ...

    async def discard(self) -> None: ...


class Files(Protocol):
    """The files of organisations, for rooms that read and write them."""

    def new_file_id(self) -> str: ...

    async def begin(self, org_id: str, file_id: str | None = None, max_bytes: int | None = None) -> NewFile: ...

    async def file(self, org_id: str, file_id: str) -> FileRecord:
        """Raises NotFound."""
        ...

    def content(self, record: FileRecord, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]: ...

    def record(self, upload: NewFile, org_id: str, filename: str, purpose: Purpose, expires_in_seconds: float | None = None) -> FileRecord:
        """What there is to know of a file that has been written."""
        ...
