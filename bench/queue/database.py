"""A database of our own in a PostgreSQL server."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def database(server: str) -> Iterator[str]:
    """Its URL, for as long as the block. Raises ConnectionError."""
    import psycopg
    from psycopg import sql

    name = f"penstock_bench_{secrets.token_hex(4)}"
    try:
        with psycopg.connect(server, autocommit=True, connect_timeout=3) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.OperationalError as error:
        raise ConnectionError(str(error).partition("\n")[0]) from error
    try:
        yield server.rpartition("/")[0] + f"/{name}"
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
