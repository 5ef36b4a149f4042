"""`penstock doctor`: what is wrong, how it was measured, and how to fix it."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from penstock.base import profiles
from penstock.cli.command import Session, gateway_command, single
from penstock.cli.commands.inspect import doctor_checks as checks
from penstock.cli.commands.inspect.doctor_checks import CheckResult, CheckVerdict
from penstock.cli.exits import ExitCode
from penstock.cli.process import ConfigOption, DataDirOption, load_settings

app = single()


@app.command(epilog="Example: penstock doctor")
@gateway_command
def doctor(
    session: Session,
    data_dir: DataDirOption = None,
    host: Annotated[str | None, typer.Option("--host", metavar="ADDRESS", help="Address to check. [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option("--port", metavar="PORT", help="Port to check. [8080]")] = None,
    config: ConfigOption = None,
) -> int:
    """Check the gateway, store, workers, port, disk, clock and profiles. Exit code 1 if a check fails."""
    at = urlsplit(session.api.connection.root)
    if port is None and host is None and at.hostname in ("127.0.0.1", "localhost", "::1"):
        host, port = at.hostname, at.port or {"http": 80, "https": 443}.get(at.scheme)  # the gateway that was asked
    if data_dir is None and (ours := _data_dir_of(session.api.connection.root)):
        data_dir = Path(ours)
    settings = load_settings({"data_dir": data_dir, "host": host, "port": port}, config)
    findings = [
        *_of_the_gateway(session),
        checks.port(settings.host, settings.port, session.api.connection.root),
        checks.disk(settings.data_dir),
        checks.profile_file(profiles.default_path()),
        checks.environment(os.environ),
    ]
    data = [finding.as_dict() for finding in findings]
    ok = all(finding.verdict is not CheckVerdict.FAIL for finding in findings)
    rows = [(finding.name, finding.verdict, finding.measured, finding.fix) for finding in findings]
    session.out.table({"ok": ok, "data": data}, ("check", "verdict", "measured", "fix"), rows)
    return ExitCode.OK if ok else ExitCode.FAILURE


def _data_dir_of(root: str) -> str:
    """Where the `penstock up` of that address keeps its data, as its profile says; empty: not known here."""
    try:
        book = profiles.read(profiles.default_path())
    except profiles.ProfileProblem:
        return ""
    return next((each.data_dir for each in book.profiles.values() if each.base_url == f"{root}/v1" and each.data_dir), "")


def _of_the_gateway(session: Session) -> Iterator[CheckResult]:
    """What only a running gateway can tell; one finding when there is none."""
    health = checks.GatewayHealth.ask(session.api, time.time)
    yield checks.gateway(health)
    if health.date_skew_seconds is not None:
        yield checks.clock(health.date_skew_seconds)
    if health.status is not None:
        yield checks.store(health.status)
        yield checks.workers(health.status)
