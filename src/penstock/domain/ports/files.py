"""The files of organisations: what the store knows of them, and how other rooms read and write them.

Asynchronous; may raise PortUnavailable. Files of another organisation are not found.
"""

from collections.abc import AsyncIterator, Collection
from typing import Protocol

from penstock.domain.durable.files import FileQuery, FileRecord, Purpose


class FileStore(Protocol):
    """The records of files; their contents are blobs."""

    async def add(self, record: FileRecord) -> None: ...

    async def get(self, org_id: str, file_id: str) -> FileRecord | None: ...

    async def page(self, query: FileQuery) -> list[FileRecord]: ...

    async def stored_bytes(self, org_id: str) -> int:
        """Of all its files."""
        ...

    async def remove(self, org_id: str, file_id: str) -> bool: ...

    async def expired(self, now: float, limit: int) -> list[FileRecord]:
        """Of every organisation."""
        ...

    async def known(self, ids: Collection[str]) -> set[str]:
        """Which of these there are, in any organisation; at most 1,000 at once."""
        ...


class NewFile(Protocol):
    """A file that is being written; it is not visible before its record is kept."""

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
