"""A PostgreSQL database of a test's own on the server that listens on this machine."""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
from psycopg import sql

_USERS = ("postgres", "root")
_databases: dict[Path, str] = {}
_kept = ExitStack()


@contextmanager
def database() -> Iterator[str]:
    """The URL of a new, empty database; dropped at the end.

    Skips the test when no server answers on 127.0.0.1:5432, or fails it where one is required (CI=true).
    """
    user = _user()
    name = f"penstock_test_{os.getpid()}_{secrets.token_hex(4)}"
    with _admin(user) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield f"postgresql://{user}@127.0.0.1:5432/{name}"
    finally:
        with _admin(user) as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def chosen_store() -> str:
    """`sqlite` or `postgresql` where a run is on one of them (PENSTOCK_TEST_STORE); empty: each test has what it asks for."""
    chosen = os.environ.get("PENSTOCK_TEST_STORE", "")
    if chosen not in ("", "sqlite", "postgresql"):
        raise ValueError(f"PENSTOCK_TEST_STORE is sqlite or postgresql, not {chosen}")
    return chosen


def database_of(directory: Path) -> str:
    """The URL of the database that belongs to a data directory: a gateway that starts there again finds what was there."""
    if directory not in _databases:
        _databases[directory] = _kept.enter_context(database())
    return _databases[directory]


def drop_databases() -> None:
    """At the end of the run, or of the test that needed them."""
    _databases.clear()
    _kept.close()


def sqlite_only(reason: str) -> None:
    """Skip a test that copies or edits the store's file in a run on PostgreSQL."""
    if chosen_store() == "postgresql":
        pytest.skip(reason)


def absent(reason: str) -> NoReturn:
    """Skip the test for want of a service, but never where the service is promised."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _admin(user: str) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(f"postgresql://{user}@127.0.0.1:5432/postgres", autocommit=True, connect_timeout=3)


def _user() -> str:
    problem = ""
    for user in _USERS:
        try:
            _admin(user).close()
        except psycopg.OperationalError as error:
            problem = str(error)
        else:
            return user
    absent(f"no PostgreSQL on 127.0.0.1:5432: {problem}")
