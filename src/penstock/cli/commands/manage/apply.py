"""`penstock apply`: a policy file in force, on every gateway within a second."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.command import Session, gateway_command, single
from penstock.cli.commands.manage.policy import show_edit
from penstock.cli.exits import ExitCode, Failed, cannot_read

app = single()


@app.command("apply", epilog="Example: penstock apply policy.toml --dry-run")
@gateway_command
def apply(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The whole policy, as TOML.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    comment: Annotated[str, typer.Option("--comment", "-m", metavar="TEXT", help="Reason of the change; kept with the version.")] = "",
    expect: Annotated[int | None, typer.Option("--if-version", min=0, metavar="N", help="Apply only if this version is in force.")] = None,
) -> None:
    """Apply a policy file. It replaces the whole policy: what the file leaves out gets its default.

    Start from `penstock policy show --toml`, which prints the policy in force. A file without any plan keeps all plans; a file with plans
    removes those that it leaves out.
    """
    body = {"policy": _read(file), "comment": comment}
    version = None if expect is None else f'"{expect}"'
    show_edit(session, session.api.put("/api/policy", body, if_match=version, dry_run=dry_run))


def _read(file: Path) -> dict[str, Any]:
    """The document, looked over here so that every mistake is told at once; the gateway looks again. Raises Failed."""
    from penstock.catalog.policy_document import PolicyProblem, parse

    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
        parse(values)
    except (OSError, UnicodeDecodeError) as error:
        raise cannot_read(file, error) from error
    except tomllib.TOMLDecodeError as error:
        raise Failed(f"{file} is not TOML: {error}", ExitCode.USAGE) from error
    except PolicyProblem as error:
        raise Failed(f"{file} is not a policy:\n{error}", ExitCode.USAGE) from error
    return values
