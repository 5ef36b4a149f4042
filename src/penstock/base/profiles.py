"""Named connections of one user: which gateway, and the key for it. Kept in a TOML file that only this user may read.

`penstock up` writes one, the other commands read it. The file:

    default = "local"

    [profiles.local]
    base_url = "http://127.0.0.1:8080/v1"
    api_key = "..."
"""

import os
import stat
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

PATH_VARIABLE = "PENSTOCK_PROFILE"
"""The setting `profile`: another file than the default one."""


class ProfileProblem(Exception):
    """The file cannot be read or written, or has no such profile; the message names the file."""


@dataclass(frozen=True, slots=True)
class Profile:
    base_url: str
    """With `/v1`, as an OpenAI client takes it."""
    api_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ProfileBook:
    """All profiles of a file; `default` may name one that is not there (yet)."""

    default: str = ""
    profiles: Mapping[str, Profile] = field(default_factory=lambda: MappingProxyType({}))

    def with_profile(self, name: str, profile: Profile, *, make_default: bool = False) -> "ProfileBook":
        """That profile added or replaced. The first one becomes the default; later ones only with `make_default`."""
        default = name if make_default or self.default not in self.profiles else self.default
        return ProfileBook(default, {**self.profiles, name: profile})

    def without(self, name: str) -> "ProfileBook":
        return replace(self, profiles={other: profile for other, profile in self.profiles.items() if other != name})


def default_path() -> Path:
    """`PENSTOCK_PROFILE`, else profiles.toml in the user's configuration directory."""
    named = os.environ.get(PATH_VARIABLE)
    if named:
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_config_path("penstock", appauthor=False) / "profiles.toml"


def read(path: Path) -> ProfileBook:
    """The profiles of that file; a missing file has none. Raises ProfileProblem."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ProfileBook()
    except (OSError, ValueError) as error:
        raise ProfileProblem(f"profiles {path}: {error}") from error
    return _book(path, document)


def _book(path: Path, document: Mapping[str, object]) -> ProfileBook:
    tables = document.get("profiles", {})
    default = document.get("default", "")
    if not isinstance(tables, dict) or not isinstance(default, str):
        raise ProfileProblem(f"profiles {path}: expected `default = NAME` and tables [profiles.NAME]")
    return ProfileBook(default, {name: _profile(path, name, table) for name, table in tables.items()})


def _profile(path: Path, name: str, table: object) -> Profile:
    base_url = table.get("base_url") if isinstance(table, dict) else None
    api_key = table.get("api_key", "") if isinstance(table, dict) else None
    if not isinstance(base_url, str) or not isinstance(api_key, str):
        raise ProfileProblem(f"profiles {path}: [profiles.{name}] needs a base_url and, at will, an api_key")
    return Profile(base_url, api_key)


def write(path: Path, book: ProfileBook) -> None:
    """Replace the file in one step, readable by its user alone. Raises ProfileProblem."""
    import tomli_w

    document = {
        "default": book.default,
        "profiles": {name: {"base_url": profile.base_url, "api_key": profile.api_key} for name, profile in book.profiles.items()},
    }
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp makes the file with mode 0600, so the key is at no moment readable by others.
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".profiles-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(tomli_w.dumps(document))
        Path(temporary).replace(path)
    except OSError as error:
        raise ProfileProblem(f"profiles {path}: {error.strerror or error}") from error


def remember(path: Path, name: str, profile: Profile) -> None:
    """Add or replace one profile; it becomes the default when there is no other. Raises ProfileProblem."""
    write(path, read(path).with_profile(name, profile))


def readable_by_others(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
