"""What all commands share: how an error becomes a sentence and an exit code, and the options for talking to a gateway."""

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from penstock.base import profiles
from penstock.base.family import UnknownMember
from penstock.base.profiles import ProfileProblem
from penstock.cli.client import references
from penstock.cli.client.api import Api, segment
from penstock.cli.client.connection import resolve
from penstock.cli.exits import ExitCode, Failed, of_status
from penstock.cli.output.tables import Output, safe
from penstock.domain.errors import PenstockError, PortUnavailable
from penstock.domain.ports import StoreProblem
from penstock.net.api_client.connection import ConnectionFlags
from penstock.net.trust import TrustProblem

P = ParamSpec("P")

EXTRAS = {
    "confluent_kafka": "kafka",
    "nats": "nats",
    "psycopg": "postgres",
    "psycopg_pool": "postgres",
    "redis": "redis",
    "opentelemetry": "otel",
    "torch": "transformers",
    "transformers": "transformers",
}
"""Which extra brings a library that is only needed by choice."""

ProfileOption = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="Profile to use.")]
BaseUrlOption = Annotated[
    str | None, typer.Option("--base-url", metavar="URL", help="Address of the gateway, for example http://127.0.0.1:8080/v1.")
]
ApiKeyOption = Annotated[str | None, typer.Option("--api-key", metavar="KEY", help="API key; prefer PENSTOCK_API_KEY.")]
CaFileOption = Annotated[
    Path | None, typer.Option("--ca-file", metavar="FILE", help="PEM file with further authorities, for a gateway with a private one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True)
class Session:
    """A command that talks to a gateway: the gateway, and where to print."""

    api: Api
    out: Output

    def id_of(self, path: str, wanted: str, what: str) -> str:
        """The id of what `wanted` names in the list at `path`: an id, the start of one, or a name. Raises Failed."""
        return references.resolve(self.api, path, wanted, what)

    def path(self, listed_at: str, wanted: str, what: str) -> str:
        """The path of what `wanted` names in a list. Raises Failed."""
        return f"{listed_at}/{segment(self.id_of(listed_at, wanted, what))}"

    def org_id(self, wanted: str | None) -> str | None:
        """Of an organisation that an option names. Raises Failed."""
        return None if wanted is None else self.id_of("/api/orgs", wanted, "organisation")


def group(help_text: str) -> typer.Typer:
    """A command with commands below it; plain help text, as in `main`."""
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode=None, add_completion=False)


def single() -> typer.Typer:
    """A command without commands below it."""
    return typer.Typer(rich_markup_mode=None, add_completion=False)


def command(body: Callable[P, int | None]) -> Callable[P, None]:
    """A command whose errors end in a sentence on stderr and an exit code. The body may return an exit code."""

    @wraps(body)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        with errors_to_exit_codes():
            code = body(*args, **kwargs)
            if code:
                raise typer.Exit(code)

    return guarded


def gateway_command(body: Callable[Concatenate[Session, P], int | None]) -> Callable[..., None]:
    """As `command`, for a body that wants a Session first; adds the options for the connection and the output."""

    @command
    @wraps(body)
    def connected(
        *args: Any,
        profile: str | None,
        base_url: str | None,
        api_key: str | None,
        ca_file: Path | None,
        json_output: bool,
        csv_output: bool,
        wide: bool,
        utc: bool,
        **kwargs: Any,
    ) -> int | None:
        wish = ConnectionFlags(profile, base_url, api_key, ca_file)
        with Api(resolve(wish, os.environ, profiles.default_path())) as api:
            return body(Session(api, Output(json_output, csv_output, wide, utc)), *args, **kwargs)

    own = list(inspect.signature(body).parameters.values())[1:]
    # Typer reads the options from the signature: the body's own ones without the session, and these.
    connected.__signature__ = inspect.Signature([*own, *_CONNECTION_OPTIONS])  # type: ignore[attr-defined]  # a documented hook of inspect
    return connected


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_CONNECTION_OPTIONS = (
    _option("profile", ProfileOption, None),
    _option("base_url", BaseUrlOption, None),
    _option("api_key", ApiKeyOption, None),
    _option("ca_file", CaFileOption, None),
    _option("json_output", JsonOption, False),
    _option("csv_output", Annotated[bool, typer.Option("--csv", help="Print CSV.")], False),
    _option("wide", Annotated[bool, typer.Option("--wide", help="Never wrap a line.")], False),
    _option("utc", Annotated[bool, typer.Option("--utc", help="Show times in UTC.")], False),
)


@contextmanager
def errors_to_exit_codes() -> Iterator[None]:
    """Print an error as a sentence on stderr and end with its exit code; an interruption ends silently."""
    try:
        yield
    except Failed as error:
        _say(str(error), error.hint)
        raise typer.Exit(error.exit_code) from error
    except PenstockError as error:
        _say(error.message)
        raise typer.Exit(of_status(error.status)) from error
    except (StoreProblem, PortUnavailable, ProfileProblem, TrustProblem) as error:
        _say(str(error))
        raise typer.Exit(ExitCode.FAILURE) from error
    except UnknownMember as error:
        _say(str(error))
        raise typer.Exit(ExitCode.USAGE) from error
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        _say(f"this needs {error.name}, which is not installed", f"pip install 'penstock[{extra}]'")
        raise typer.Exit(ExitCode.FAILURE) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(ExitCode.INTERRUPTED) from error


def _say(message: str, hint: str = "") -> None:
    print(f"penstock: {safe(message)}", file=sys.stderr)
    if hint:
        print(f"  {safe(hint)}", file=sys.stderr)
