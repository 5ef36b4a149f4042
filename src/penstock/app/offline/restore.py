"""`penstock restore`: an installation from a backup. It is held until an operator releases it: it may be a copy of one that runs."""

import time
from datetime import UTC, datetime
from pathlib import Path

from penstock.app import process
from penstock.app.offline import archive, place
from penstock.app.settings import CONFIG_NAME, Settings
from penstock.domain.ports import StoreProblem
from penstock.storage.stores._schema import SCHEMA_VERSION
from penstock.storage.stores.sql.file_lock import FileLock

_COMPANIONS = ("", "-wal", "-shm")


def run(settings: Settings, source: Path, *, replace: bool, hold: bool) -> int:
    """0 when the installation is there."""
    try:
        manifest, aside = restore(settings, source, replace=replace, hold=hold, now=time.time())
    except (archive.ArchiveProblem, StoreProblem, OSError) as error:
        process.say(f"penstock: {error}")
        return 1
    made = datetime.fromtimestamp(manifest.made_at, UTC).strftime("%Y-%m-%d %H:%MZ")
    process.say(f"{place.spoken(settings)} is the backup of {made}.")
    if aside is not None:
        process.say(f"What was there is in {aside}.")
    if hold:
        process.say(
            "It is held: a gateway on it calls none of the workers and upstreams that are stored in it, and runs no tasks, batches or "
            f"schedules. When it takes the place of the original, run `penstock admin release{place.flags(settings)}`."
        )
    return 0


def restore(settings: Settings, source: Path, *, replace: bool, hold: bool, now: float) -> tuple[archive.Manifest, Path | None]:
    """Returns what the backup says of itself, and where the former installation is. Raises ArchiveProblem, StoreProblem, OSError."""
    file = place.sqlite_file(settings)
    if file is None:
        raise StoreProblem(f"The store {place.spoken(settings)} is a database server: restore it with psql or pg_restore.")
    _check(source)  # all of it, before anything is touched
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(file)
    lock.acquire()
    try:
        aside = _set_aside(settings, file, replace, now)
        if hold:
            settings.hold_file.write_text("Restored from a backup. `penstock admin release` removes this file.\n", encoding="utf-8")
        with archive.read(source) as reader:
            for top, member in reader.members():
                reader.extract(member, _target(settings, file, top, member.name, hold))
            return reader.manifest, aside
    finally:
        lock.release()


def _check(source: Path) -> None:
    with archive.read(source) as reader:
        if reader.manifest.schema > SCHEMA_VERSION:
            raise archive.ArchiveProblem(
                f"{source} has schema {reader.manifest.schema}, which is newer than this Penstock knows ({SCHEMA_VERSION}): "
                f"install Penstock {reader.manifest.version} or later"
            )
        if archive.DATABASE not in {member.name for _, member in reader.members()}:
            raise archive.ArchiveProblem(f"{source} holds no database")


def _set_aside(settings: Settings, file: Path, replace: bool, now: float) -> Path | None:
    """Move what is there; nothing is deleted. Raises StoreProblem when there is something and `replace` was not said."""
    files = place.files_directory(settings)
    companions = [file.with_name(file.name + end) for end in _COMPANIONS]
    found = [path for path in (*companions, settings.data_dir / "journal") if path.exists()]
    found += [files] if files.is_dir() and any(files.iterdir()) else []
    if not found:
        return None
    if not replace:
        raise StoreProblem(f"There is an installation already: {found[0]}. Choose another --data-dir, or add --replace to move it aside.")
    aside = settings.data_dir / f"replaced-{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}"
    aside.mkdir(mode=0o700)
    for path in found:
        path.rename(aside / path.name)
    return aside


def _target(settings: Settings, file: Path, top: str, name: str, hold: bool) -> Path:
    if top == archive.DATABASE:
        return file
    if top == archive.SETTINGS:
        # Its ports and upstreams are the original's: they count only when this takes its place.
        path = settings.data_dir / CONFIG_NAME
        return path.with_name(f"{CONFIG_NAME}.restored") if hold or path.exists() else path
    inner = name.partition("/")[2]
    return (place.files_directory(settings) if top == archive.FILES else settings.data_dir / "journal") / inner
