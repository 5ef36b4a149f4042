"""`penstock policy`: the policy in force, its versions, what differs between them, and the way back."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import typer

from penstock.cli.command import Session, gateway_command, group
from penstock.cli.output.moments import date

app = group("The policy: show, versions, diff, rollback.")

Number = Annotated[int, typer.Argument(min=0, metavar="VERSION", help="Number of the version, from `penstock policy versions`.")]
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@app.command(epilog="Example: penstock policy show --toml > policy.toml")
@gateway_command
def show(
    session: Session,
    version: Annotated[int | None, typer.Option(min=0, metavar="N", help="Show this version. [the one in force]")] = None,
    toml: Annotated[bool, typer.Option("--toml", help="Print a file for `penstock apply`.")] = False,
) -> None:
    """Show the policy in force, or an older version."""
    found = session.api.get("/api/policy" if version is None else f"/api/policy/versions/{version}")
    if not session.out.json and not toml:
        session.out.note(f"version {found['version']}{_by(found)}")
    if session.out.json and not toml:
        session.out.data(found)
    else:
        typer.echo("\n".join(_toml(found["policy"])))


@app.command(epilog="Example: penstock policy versions")
@gateway_command
def versions(
    session: Session, limit: Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="Number of versions to list.")] = 20
) -> None:
    """List the versions of the policy, newest first."""
    answer = session.api.get("/api/policy/versions", limit=limit)
    rows = [(each["version"], date(each["created_at"]), each["author"], each["comment"]) for each in answer["data"]]
    session.out.table(answer, ("version#", "made", "by key", "comment"), rows)


@app.command(epilog="Example: penstock policy diff 3")
@gateway_command
def diff(
    session: Session,
    old: Number,
    new: Annotated[int | None, typer.Argument(min=0, metavar="[VERSION]", help="Compare with this version. [the one in force]")] = None,
) -> None:
    """Compare a version with another one, or with the one in force."""
    answer = session.api.get("/api/policy/diff", **{"from": old, "to": new})
    _show_changes(session, answer, answer["data"])


@app.command(epilog="Example: penstock policy rollback 3 --dry-run")
@gateway_command
def rollback(
    session: Session,
    version: Number,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    comment: Annotated[str, typer.Option("--comment", "-m", metavar="TEXT", help="Reason of the change; kept with the version.")] = "",
) -> None:
    """Make a new version with the content of an older one."""
    show_edit(session, session.api.post("/api/policy/rollback", {"version": version, "comment": comment}, dry_run=dry_run))


def show_edit(session: Session, edit: Mapping[str, Any]) -> None:
    """What an edit has changed, or would."""
    _show_changes(session, edit, edit["changes"])
    if edit["dry_run"]:
        session.out.note("nothing was changed: this was a dry run")
    elif edit["changes"]:
        session.out.note(f"version {edit['version']} is in force; every gateway has it within a second")
    else:
        session.out.note(f"version {edit['version']} has the same content already")


def _show_changes(session: Session, answer: Any, changes: Iterable[Mapping[str, Any]]) -> None:
    if session.out.json:
        session.out.data(answer)
        return
    lines = [change["text"] for change in changes]
    for line in lines:
        typer.echo(line)
    if not lines:
        session.out.note("no difference")


def _by(found: Mapping[str, Any]) -> str:
    if not found["version"]:
        return ": the default, not edited yet"
    comment = f": {found['comment']}" if found["comment"] else ""
    return f", {date(found['created_at'])}, by {found['author']}{comment}"


def _toml(document: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """TOML of what a policy is made of: tables, numbers, words, and lists of them; null is left out."""
    plain = {name: value for name, value in document.items() if not isinstance(value, dict) and value is not None}
    tables = {name: value for name, value in document.items() if isinstance(value, dict)}
    if path and (plain or not tables):
        yield f"[{path}]"
    for name, value in plain.items():
        yield f"{_key(name)} = {json.dumps(value, ensure_ascii=False)}"
    if plain:
        yield ""
    for name, value in tables.items():
        yield from _toml(value, f"{path}.{_key(name)}" if path else _key(name))


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)
