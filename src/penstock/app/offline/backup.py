"""`penstock backup`: everything that an installation on SQLite keeps, in one file, while it runs.

The order makes the copy whole without stopping anything. The journal comes first: what leaves it meanwhile is in the database that is
copied after it, and a batch that is in both is counted once. The files come last: a file is there before the row that names it.
"""

import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from penstock import __version__
from penstock.app import process
from penstock.app.offline import archive, place
from penstock.app.settings import CONFIG_NAME, Settings
from penstock.domain.ports import StoreProblem

_PAGES_AT_ONCE = 1024


def run(settings: Settings, target: Path) -> int:
    """0 when the backup is complete."""
    try:
        size = back_up(settings, target, time.time())
    except (archive.ArchiveProblem, StoreProblem, sqlite3.Error, OSError) as error:
        process.say(f"penstock: {error}")
        return 1
    process.say(f"{place.spoken(settings)} is saved in {target} ({size / 1e6:,.1f} MB). It holds secrets: only you can read it.")
    if settings.secret_key.get_secret_value():
        process.say("The setting secret_key is not in it. Keep it elsewhere: without it the keys in this backup are void.")
    return 0


def back_up(settings: Settings, target: Path, now: float) -> int:
    """Returns the size in bytes. Raises ArchiveProblem, StoreProblem, sqlite3.Error, OSError."""
    file = place.sqlite_file(settings)
    if file is None:
        raise StoreProblem(
            f"The store {place.spoken(settings)} is a database server: back it up with pg_dump, and copy {place.files_directory(settings)}."
        )
    if not file.exists():
        raise StoreProblem(f"There is no store {file}. Name the installation with --data-dir or --store.")
    # Beside the target, so that a copy of the database needs no second file system with room for it.
    with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=".penstock-backup-") as scratch:
        journal = [(name, path.read_bytes().rstrip(b"\0")) for name, path in _segments(settings.data_dir / "journal")]
        copy = Path(scratch) / archive.DATABASE
        schema = _copy_database(file, copy)
        with archive.create(target, archive.Manifest(now, __version__, schema)) as writer:
            writer.add_file(archive.DATABASE, copy)
            for name, content in journal:
                writer.add_bytes(f"{archive.JOURNAL}/{name}", content)
            config = settings.data_dir / CONFIG_NAME
            if config.is_file():
                writer.add_file(archive.SETTINGS, config)
            for path in _regular_files(place.files_directory(settings)):
                writer.add_file(f"{archive.FILES}/{path.relative_to(place.files_directory(settings)).as_posix()}", path)
    return target.stat().st_size


def _copy_database(file: Path, copy: Path) -> str:
    """A consistent copy beside the process that writes; returns its schema. Raises StoreProblem for a file that is damaged."""
    source = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)
    target = sqlite3.connect(copy)
    try:
        source.backup(target, pages=_PAGES_AT_ONCE)
        found = target.execute("PRAGMA quick_check(1)").fetchone()
        if found != ("ok",):
            raise StoreProblem(f"The store {file} is damaged: {found[0]}")
        versions = target.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(versions[0]) if versions else ""
    except sqlite3.DatabaseError as error:
        raise StoreProblem(f"The store {file} cannot be copied: {error}") from error
    finally:
        target.close()
        source.close()
        copy.chmod(0o600)


def _segments(journal: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(journal.glob("*/seg_*.jsonl")):
        yield f"{path.parent.name}/{path.name}", path


def _regular_files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.suffix != ".part":
            yield path
