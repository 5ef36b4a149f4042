"""The checks of `penstock doctor`, each a finding: a verdict, what was measured, and what to do."""

import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from penstock.base import profiles
from penstock.cli.client.api import Api, network_problems, refusal
from penstock.cli.exits import Failed, RequestRefused
from penstock.cli.output.moments import spoken

MIB = 1024 * 1024
LEAST_FREE_BYTES = 256 * MIB
FEW_FREE_BYTES = 2048 * MIB
MOST_SKEW_SECONDS = 300.0
"""Gateways refuse a worker's signature beyond this."""
SOME_SKEW_SECONDS = 5.0


class CheckVerdict(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class CheckResult:
    name: str
    verdict: CheckVerdict
    measured: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        """`mend` is the older name of `fix`."""
        return {"name": self.name, "verdict": str(self.verdict), "measured": self.measured, "fix": self.fix, "mend": self.fix}


@dataclass(frozen=True, slots=True)
class GatewayHealth:
    """What a gateway says of itself, or why it says nothing."""

    root: str
    problem: Failed | None = None
    status: Mapping[str, Any] | None = None
    date_skew_seconds: float | None = None
    """Its clock minus ours."""

    @classmethod
    def ask(cls, api: Api, now: Callable[[], float]) -> "GatewayHealth":
        root = api.connection.root
        try:
            with network_problems(root):
                before = now()
                response = api.client.get("/api/status")
                middle = (before + now()) / 2
        except Failed as failed:
            return cls(root, failed)
        skew = _skew(response.headers.get("date"), middle)
        if not response.is_success:
            return cls(root, refusal(response.status_code, response.headers, response.content), None, skew)
        try:
            return cls(root, None, response.json(), skew)
        except ValueError:
            return cls(root, Failed(f"{root} does not answer like Penstock"), None, skew)


def _skew(date: str | None, now: float) -> float | None:
    """Seconds that an HTTP date, which is cut to whole seconds, differs from `now`; None when there is no date."""
    if not date:
        return None
    try:
        return parsedate_to_datetime(date).timestamp() + 0.5 - now
    except ValueError:
        return None


def gateway(health: GatewayHealth) -> CheckResult:
    if isinstance(health.problem, RequestRefused):
        return CheckResult("gateway", CheckVerdict.FAIL, f"{health.root}: {health.problem}", health.problem.hint)
    if health.problem is not None or health.status is None:
        fix = "start one with `penstock up`, or name yours with --base-url or --profile"
        return CheckResult("gateway", CheckVerdict.FAIL, str(health.problem), fix)
    version, uptime = health.status.get("version"), health.status.get("uptime_seconds", 0.0)
    summary = f"{health.root}, version {version}, up {spoken(uptime)}"
    if not health.status.get("ready", True):
        reasons = "; ".join(map(str, health.status.get("problems") or ())) or "no reason given"
        return CheckResult("gateway", CheckVerdict.FAIL, f"{summary}, not ready: {reasons}", "see the checks below and the gateway's log")
    return CheckResult("gateway", CheckVerdict.OK, summary)


def store(status: Mapping[str, Any]) -> CheckResult:
    state = str(status.get("store"))
    if state == "ok":
        return CheckResult("store", CheckVerdict.OK, "answers the gateway")
    fix = "start the database, or check `store` in the gateway's settings; running traffic continues for a minute"
    return CheckResult("store", CheckVerdict.FAIL, state, fix)


def workers(status: Mapping[str, Any]) -> CheckResult:
    states = {state: count for state, count in (status.get("workers") or {}).items() if count}
    measured = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"
    if not states.get("ready"):
        fix = "start one: `penstock tokens create`, then `penstock worker --join URL --token TOKEN`; or `penstock workers add`"
        return CheckResult("workers", CheckVerdict.FAIL, measured, fix)
    if states.get("dead") or states.get("suspect"):
        fix = "`penstock workers list` shows which; restart them, or `penstock workers remove` those that will not return"
        return CheckResult("workers", CheckVerdict.WARN, measured, fix)
    return CheckResult("workers", CheckVerdict.OK, measured)


def port(host: str, number: int, root: str) -> CheckResult:
    """Whether the configured address can be listened on; a gateway of ours that listens there is as good."""
    try:
        # What uvicorn does: a socket in TIME_WAIT does not count as taken.
        with socket.create_server((host, number)):
            return CheckResult("port", CheckVerdict.OK, f"{host}:{number} is free")
    except OSError as error:
        at = urlsplit(root)
        taken_by_ours = (at.port or {"http": 80, "https": 443}.get(at.scheme)) == number and at.hostname in (host, "127.0.0.1", "localhost")
        if taken_by_ours:
            return CheckResult("port", CheckVerdict.OK, f"{host}:{number} is in use by the gateway that was asked")
        fix = f"stop what listens there (`ss -ltnp 'sport = :{number}'` shows it), or choose another --port"
        return CheckResult("port", CheckVerdict.FAIL, f"{host}:{number}: {error.strerror or error}", fix)


def disk(data_dir: Path) -> CheckResult:
    """Room for the store and the journal, and that we may write there."""
    place = next((folder for folder in (data_dir, *data_dir.parents) if folder.exists()), Path("/"))
    free = shutil.disk_usage(place).free
    measured = f"{free // MIB:,} MiB free at {data_dir}"
    if not _writable(place):
        return CheckResult(
            "disk", CheckVerdict.FAIL, f"{place} cannot be written to", "choose another --data-dir, or give this user the right to write"
        )
    if free < LEAST_FREE_BYTES:
        return CheckResult("disk", CheckVerdict.FAIL, measured, "free some space, or choose another --data-dir")
    verdict = CheckVerdict.WARN if free < FEW_FREE_BYTES else CheckVerdict.OK
    return CheckResult("disk", verdict, measured, "free some space soon" if verdict is CheckVerdict.WARN else "")


def _writable(folder: Path) -> bool:
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def clock(skew_seconds: float) -> CheckResult:
    distance = abs(skew_seconds)
    measured = f"{distance:.1f} s {'behind' if skew_seconds > 0 else 'ahead of'} the gateway"
    if distance <= SOME_SKEW_SECONDS:
        return CheckResult("clock", CheckVerdict.OK, measured)
    verdict = CheckVerdict.FAIL if distance > MOST_SKEW_SECONDS else CheckVerdict.WARN
    return CheckResult("clock", verdict, measured, "turn on time synchronisation: `timedatectl set-ntp true`, on both machines")


def profile_file(path: Path) -> CheckResult:
    if not path.exists():
        return CheckResult("profile", CheckVerdict.OK, f"no profile file at {path}")
    try:
        book = profiles.read(path)
    except profiles.ProfileProblem as problem:
        return CheckResult("profile", CheckVerdict.FAIL, str(problem), "fix the file, or remove it and run `penstock profiles save`")
    if profiles.readable_by_others(path):
        return CheckResult("profile", CheckVerdict.FAIL, f"{path} holds keys and others may read it", f"chmod 600 {path}")
    if book.default and book.default not in book.profiles:
        return CheckResult(
            "profile", CheckVerdict.WARN, f"{path}: the default {book.default!r} is not there", "`penstock profiles use NAME`"
        )
    return CheckResult("profile", CheckVerdict.OK, f"{path}, default {book.default or 'none'}")


def environment(variables: Mapping[str, str]) -> CheckResult:
    """A variable that looks like a setting but is unknown is usually a typing error."""
    from penstock.app.settings import ENVIRONMENT_PREFIX
    from penstock.app.settings.load import unknown_variables

    ours = [name for name in variables if name.upper().startswith(ENVIRONMENT_PREFIX)]
    unknown = unknown_variables(variables)
    if unknown:
        return CheckResult(
            "environment", CheckVerdict.WARN, f"not a setting: {', '.join(unknown)}", "`penstock env-example` lists them all"
        )
    return CheckResult("environment", CheckVerdict.OK, f"{len(ours)} PENSTOCK_* variables")
