"""Where an installation keeps its things, and how people name it."""

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from penstock.app.settings import Settings, default_data_dir


def sqlite_file(settings: Settings) -> Path | None:
    """The database file; None for a database server, or one in memory."""
    if not settings.store_url.startswith("sqlite:///"):
        return None
    name = settings.store_url.removeprefix("sqlite:///").partition("?")[0]
    return Path(name).absolute() if name and name != ":memory:" else None


def files_directory(settings: Settings) -> Path:
    return settings.files.directory or settings.data_dir / "files"


def spoken(settings: Settings) -> str:
    """The store for a person: without the password of a database server."""
    file = sqlite_file(settings)
    if file is not None:
        return str(file)
    parts = urlsplit(settings.store_url)
    host = parts.hostname or ""
    user = f"{parts.username}@" if parts.username else ""
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit((parts.scheme, f"{user}{host}{port}", parts.path, "", ""))


def flags(settings: Settings) -> str:
    """What names this store for another command; empty when nothing must be said."""
    if settings.store:
        return f" --store {spoken(settings) if not settings.store.startswith('sqlite') else settings.store}"
    same = settings.data_dir.absolute() == default_data_dir().absolute()
    return "" if same else f" --data-dir {settings.data_dir}"
