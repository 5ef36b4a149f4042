"""A backup as one tar file: what it holds, and that nothing else is taken out of it."""

import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO

MANIFEST = "manifest.json"
DATABASE = "penstock.db"
SETTINGS = "penstock.toml"
FILES = "files"
JOURNAL = "journal"
_FORMAT = 1
_MOST_MANIFEST_BYTES = 64 * 1024
_PIECE_BYTES = 1 << 20


class ArchiveProblem(Exception):
    """The file is no backup, or not one of this version; the message names it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    made_at: float
    """Unix seconds."""
    version: str
    """Of the Penstock that made it."""
    schema: str
    format: int = _FORMAT


class Writer:
    """Adds to a new archive; nothing that it writes can be read by others."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add_bytes(self, name: str, content: bytes) -> None:
        self._tar.addfile(_entry(name, len(content)), BytesIO(content))

    def add_file(self, name: str, path: Path) -> None:
        """As it is at this moment; a file that is gone meanwhile is left out."""
        try:
            with path.open("rb") as file:
                self._tar.addfile(_entry(name, os.fstat(file.fileno()).st_size), file)
        except FileNotFoundError:
            return


@contextmanager
def create(path: Path, manifest: Manifest) -> Iterator[Writer]:
    """A new file with mode 0600 that is there only when it is complete. Raises ArchiveProblem when one of that name exists."""
    if path.exists():
        raise ArchiveProblem(f"{path} exists already; choose another name")
    part = path.with_name(f"{path.name}.part")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            with _tar(file, path) as tar:
                writer = Writer(tar)
                writer.add_bytes(MANIFEST, json.dumps(asdict(manifest)).encode())
                yield writer
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _tar(file: IO[bytes], path: Path) -> tarfile.TarFile:
    if path.suffix in (".gz", ".tgz"):
        return tarfile.open(fileobj=file, mode="w:gz", compresslevel=1)
    return tarfile.open(fileobj=file, mode="w")


def _entry(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info


class Reader:
    """What is in a backup. Names that a backup does not have, links and devices are refused."""

    def __init__(self, path: Path, tar: tarfile.TarFile) -> None:
        self._path = path
        self._tar = tar
        self.manifest = self._manifest()

    def members(self) -> Iterator[tuple[str, tarfile.TarInfo]]:
        """Of everything but the manifest: the top folder or file, and the member. Raises ArchiveProblem."""
        for member in self._tar:
            parts = PurePosixPath(member.name).parts
            known = parts[0] in (FILES, JOURNAL) if len(parts) > 1 else member.name in (MANIFEST, DATABASE, SETTINGS)
            if not member.isreg() or not known or ".." in parts:
                raise ArchiveProblem(f"{self._path}: {member.name!r} does not belong in a backup")
            if member.name != MANIFEST:
                yield parts[0], member

    def extract(self, member: tarfile.TarInfo, to: Path) -> None:
        """Write it there, readable by its owner alone."""
        to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        source = self._tar.extractfile(member)
        assert source is not None
        descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with source, os.fdopen(descriptor, "wb") as file:
            while piece := source.read(_PIECE_BYTES):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def _manifest(self) -> Manifest:
        first = self._tar.next()
        if first is None or first.name != MANIFEST or not first.isreg() or first.size > _MOST_MANIFEST_BYTES:
            raise ArchiveProblem(f"{self._path} is not a backup of Penstock")
        content = self._tar.extractfile(first)
        assert content is not None
        try:
            manifest = Manifest(**json.load(content))
        except (ValueError, TypeError) as error:
            raise ArchiveProblem(f"{self._path} is not a backup of this version: {error}") from error
        if manifest.format != _FORMAT:
            raise ArchiveProblem(f"{self._path} was made by a newer Penstock ({manifest.version})")
        return manifest


@contextmanager
def read(path: Path) -> Iterator[Reader]:
    """Raises ArchiveProblem, also for one that is cut or damaged."""
    try:
        with tarfile.open(path, mode="r:*") as tar:
            yield Reader(path, tar)
    except FileNotFoundError as error:
        raise ArchiveProblem(f"there is no file {path}") from error
    except (tarfile.TarError, EOFError) as error:
        raise ArchiveProblem(f"{path} is not a backup, or is damaged: {error}") from error
