"""Where the contents of files lie. Asynchronous; may raise PortUnavailable."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol


class BlobWriter(Protocol):
    """A blob that is being written; it is not visible before `commit`. Raises StorageFull, PortUnavailable; then only `discard` is left."""

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


class BlobsFactory(Protocol):
    """`MEMBER` of the family `blobs`."""

    def __call__(self, directory: Path, /) -> Blobs:
        """Not yet open."""
        ...
