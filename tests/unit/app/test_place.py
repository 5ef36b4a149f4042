"""How a store is named to people, and to the next command."""

from pathlib import Path

import pytest

from penstock.app.offline import place
from penstock.app.settings import Settings, default_data_dir


@pytest.mark.parametrize(
    ("given", "name", "flags"),
    [
        ({}, str(default_data_dir() / "penstock.db"), ""),
        ({"data_dir": "/srv/lab"}, "/srv/lab/penstock.db", " --data-dir /srv/lab"),
        ({"store": "sqlite:////srv/x.db"}, "/srv/x.db", " --store sqlite:////srv/x.db"),
        (
            {"store": "postgresql://penstock:secret@db.internal:5433/prod"},
            "postgresql://penstock@db.internal:5433/prod",
            " --store postgresql://penstock@db.internal:5433/prod",
        ),
    ],
    ids=["default", "directory", "file", "server"],
)
def test_store_is_named_without_its_password_and_with_the_flags_that_choose_it(given: dict[str, str], name: str, flags: str) -> None:
    settings = Settings(**given)  # type: ignore[arg-type]
    assert (place.spoken(settings), place.flags(settings)) == (name, flags)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "postgresql://h/d"])
def test_store_without_a_file_has_none(url: str) -> None:
    assert place.sqlite_file(Settings(store=url)) is None


def test_relative_database_file_is_taken_from_the_working_directory() -> None:
    assert place.sqlite_file(Settings(store="sqlite:///x.db")) == Path.cwd() / "x.db"
