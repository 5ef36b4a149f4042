"""Where OpenAI's stored objects lie: files, and (beside this) what is known of them. Asynchronous; raises PortUnavailable."""

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Protocol

from penstock.domain.files import FileQuery, FileRecord


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

    async def file(self, org_id: str, file_id: str) -> FileRecord | None:
        """None also for another organisation's."""
        ...

    async def files(self, query: FileQuery) -> list[FileRecord]: ...

    async def remove_file(self, org_id: str, file_id: str) -> bool: ...

    async def expired_files(self, now: float, limit: int) -> list[FileRecord]:
        """Of every organisation."""
        ...

    async def known_files(self, ids: Collection[str]) -> set[str]:
        """Which of these there are, in any organisation; at most 1,000 at once."""
        ...
