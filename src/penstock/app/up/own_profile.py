"""The profile that `penstock up` writes for its own platform, and never for another one."""

from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path

from penstock.base import profiles
from penstock.base.profiles import Profile, ProfileBook

_OF_DEFAULT_DIRECTORY = "default"
_OLD_NAME = "local"
"""What `up` wrote before a profile said its data directory."""


class ProfileTaken(Exception):
    """The name belongs to another platform; the message says which."""


def save(path: Path, wanted: str, profile: Profile, default_dir: Path) -> str:
    """Add or renew the profile of `profile.data_dir` and return its name. A key that is known stays when `profile` has none.

    `wanted`: its name; empty: from the data directory. A name that belongs to another directory is not touched. Without any key nothing
    is written, and the name is empty. Raises ProfileTaken, ProfileProblem.
    """
    book = profiles.read(path)
    name = name_of(book, wanted, Path(profile.data_dir), default_dir)
    known = book.profiles.get(name)
    key = profile.api_key or (known.api_key if known is not None else "")
    if not key:
        return ""
    renewed = Profile(profile.base_url, key, known.ca_file if known is not None else "", profile.pin_file, profile.data_dir)
    if renewed != known:
        profiles.write(path, book.with_profile(name, renewed))
    return name


def name_of(book: ProfileBook, wanted: str, data_dir: Path, default_dir: Path) -> str:
    """Raises ProfileTaken for a wanted name of another platform."""
    ours = str(data_dir)
    if wanted:
        taken = book.profiles.get(wanted)
        if taken is not None and taken.data_dir != ours:
            owner = taken.data_dir or taken.base_url
            raise ProfileTaken(
                f"the profile {wanted!r} belongs to {owner}; choose another --profile, or `penstock profiles remove {wanted}`"
            )
        return wanted
    if known := next((name for name, profile in book.profiles.items() if profile.data_dir == ours), None):
        return known
    old = book.profiles.get(_OLD_NAME)
    if data_dir == default_dir and old is not None and not old.data_dir:
        return _OLD_NAME
    return next(name for name in _names(data_dir, default_dir) if name not in book.profiles)


def _names(data_dir: Path, default_dir: Path) -> Iterator[str]:
    base = _OF_DEFAULT_DIRECTORY if data_dir == default_dir else data_dir.name or _OF_DEFAULT_DIRECTORY
    return chain([base], (f"{base}-{number}" for number in count(2)))
