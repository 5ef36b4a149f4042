"""Named connections of one user: which gateway, and the key for it. Kept in a TOML file that only this user may read.

`penstock up` writes one, the other commands read it. The file:

    default = "local"

    [profiles.local]
    base_url = "http://127.0.0.1:8080/v1"
    api_key = "..."
    ca_file = "/etc/penstock/authority.pem"      # at will: a private authority
    pin_file = "/var/lib/penstock/gateway.pem"   # at will: the one certificate of the gateway, whatever its name
    data_dir = "/var/lib/penstock"               # of the `penstock up` that wrote it
"""

import os
import stat
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
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
    ca_file: str = ""
    pin_file: str = ""
    data_dir: str = ""
    """Of the platform on this machine whose `penstock up` wrote this profile; empty: a person wrote it."""


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
    known = {each.name: table.get(each.name, "") for each in fields(Profile)} if isinstance(table, dict) else {}
    if not known.get("base_url") or not all(isinstance(value, str) for value in known.values()):
        raise ProfileProblem(
            f"profiles {path}: [profiles.{name}] needs a base_url and, at will, api_key, ca_file, pin_file and data_dir (texts)"
        )
    return Profile(**known)


def _table(profile: Profile) -> dict[str, str]:
    """The optional texts only where they say something; a key is always there, so that people see where it belongs."""
    return {name: value for name, value in asdict(profile).items() if value or name in ("base_url", "api_key")}


def write(path: Path, book: ProfileBook) -> None:
    """Replace the file in one step, readable by its user alone. Raises ProfileProblem."""
    import tomli_w

    document = {"default": book.default, "profiles": {name: _table(profile) for name, profile in book.profiles.items()}}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp makes the file with mode 0600, so the key is at no moment readable by others.
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".profiles-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(tomli_w.dumps(document))
        Path(temporary).replace(path)
    except OSError as error:
        raise ProfileProblem(f"profiles {path}: {error.strerror or error}") from error


def readable_by_others(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
