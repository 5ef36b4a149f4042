"""Which gateway the commands talk to: `net.api_client.connection`, with exit codes for what is wrong."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from penstock.cli.exits import ExitCode, Failed
from penstock.net.api_client import connection
from penstock.net.api_client.connection import ConnectionFlags, GatewayConnection, NotAnAddress, UnknownProfile


def resolve(wish: ConnectionFlags, environment: Mapping[str, str], path: Path) -> GatewayConnection:
    """Raises Failed for a profile or an address that is none, ProfileProblem when the file cannot be read."""
    with _exit_codes():
        return connection.resolve(wish, environment, path)


def root_of(base_url: str) -> str:
    """`http://host:8080` of `http://host:8080/v1/`. Raises Failed when it is not an HTTP address."""
    with _exit_codes():
        return connection.root_of(base_url)


@contextmanager
def _exit_codes() -> Iterator[None]:
    try:
        yield
    except UnknownProfile as error:
        raise Failed(str(error), ExitCode.NOT_FOUND) from None
    except NotAnAddress as error:
        raise Failed(str(error), ExitCode.USAGE) from None
