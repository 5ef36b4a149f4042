"""The checks of `penstock doctor`, each a finding: a verdict, what was measured, and what to do."""

import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from penstock.base import profiles
from penstock.cli.client.api import Api, network_problems, refusal
from penstock.cli.exits import Failed, Refused
from penstock.cli.output.moments import spoken

MIB = 1024 * 1024
LEAST_FREE_BYTES = 256 * MIB
FEW_FREE_BYTES = 2048 * MIB
MOST_SKEW_SECONDS = 300.0
"""Gateways refuse a worker's signature beyond this."""
SOME_SKEW_SECONDS = 5.0

OTHER_VARIABLES = frozenset({"PENSTOCK_CONFIG", "PENSTOCK_BASE_URL", "PENSTOCK_API_KEY", "PENSTOCK_UPSTREAM_SECRET"})
"""Variables of ours that are not settings."""


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    verdict: Verdict
    measured: str
    mend: str = ""

    def as_dict(self) -> dict[str, str]:
        return {name: str(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Health:
    """What a gateway says of itself, or why it says nothing."""

    root: str
    problem: Failed | None = None
    status: Mapping[str, Any] | None = None
    date_skew_seconds: float | None = None
    """Its clock minus ours."""

    @classmethod
    def ask(cls, api: Api, now: Callable[[], float]) -> "Health":
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


def gateway(health: Health) -> Finding:
    if isinstance(health.problem, Refused):
        return Finding("gateway", Verdict.FAIL, f"{health.root}: {health.problem}", health.problem.hint)
    if health.problem is not None or health.status is None:
        mend = "start one with `penstock up`, or name yours with --base-url or --profile"
        return Finding("gateway", Verdict.FAIL, str(health.problem), mend)
    version, uptime = health.status.get("version"), health.status.get("uptime_seconds", 0.0)
    said = f"{health.root}, version {version}, up {spoken(uptime)}"
    if not health.status.get("ready", True):
        reasons = "; ".join(map(str, health.status.get("problems") or ())) or "it does not say why"
        return Finding("gateway", Verdict.FAIL, f"{said}, not ready: {reasons}", "see the checks below and the gateway's log")
    return Finding("gateway", Verdict.OK, said)


def store(status: Mapping[str, Any]) -> Finding:
    state = str(status.get("store"))
    if state == "ok":
        return Finding("store", Verdict.OK, "answers the gateway")
    mend = "start the database, or check `store` in the gateway's settings; running traffic goes on for a minute"
    return Finding("store", Verdict.FAIL, state, mend)


def workers(status: Mapping[str, Any]) -> Finding:
    states = {state: count for state, count in (status.get("workers") or {}).items() if count}
    measured = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"
    if not states.get("ready"):
        mend = "start one: `penstock tokens create`, then `penstock worker --join URL --token TOKEN`; or `penstock workers add`"
        return Finding("workers", Verdict.FAIL, measured, mend)
    if states.get("dead") or states.get("suspect"):
        mend = "`penstock workers list` shows which; restart them, or `penstock workers remove` what will not come back"
        return Finding("workers", Verdict.WARN, measured, mend)
    return Finding("workers", Verdict.OK, measured)


def port(host: str, number: int, root: str) -> Finding:
    """Whether the configured address can be listened on; a gateway of ours that listens there is as good."""
    try:
        # What uvicorn does: a socket in TIME_WAIT does not count as taken.
        with socket.create_server((host, number)):
            return Finding("port", Verdict.OK, f"{host}:{number} is free")
    except OSError as error:
        at = urlsplit(root)
        taken_by_ours = (at.port or {"http": 80, "https": 443}.get(at.scheme)) == number and at.hostname in (host, "127.0.0.1", "localhost")
        if taken_by_ours:
            return Finding("port", Verdict.OK, f"{host}:{number} is in use by the gateway that was asked")
        mend = f"stop what listens there (`ss -ltnp 'sport = :{number}'` shows it), or choose another --port"
        return Finding("port", Verdict.FAIL, f"{host}:{number}: {error.strerror or error}", mend)


def disk(data_dir: Path) -> Finding:
    """Room for the store and the journal, and that we may write there."""
    place = next((folder for folder in (data_dir, *data_dir.parents) if folder.exists()), Path("/"))
    free = shutil.disk_usage(place).free
    measured = f"{free // MIB:,} MiB free at {data_dir}"
    if not _writable(place):
        return Finding(
            "disk", Verdict.FAIL, f"{place} cannot be written to", "choose another --data-dir, or give this user the right to write"
        )
    if free < LEAST_FREE_BYTES:
        return Finding("disk", Verdict.FAIL, measured, "make room, or choose another --data-dir")
    verdict = Verdict.WARN if free < FEW_FREE_BYTES else Verdict.OK
    return Finding("disk", verdict, measured, "make room soon" if verdict is Verdict.WARN else "")


def _writable(folder: Path) -> bool:
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def clock(skew_seconds: float) -> Finding:
    distance = abs(skew_seconds)
    measured = f"{distance:.1f} s {'behind' if skew_seconds > 0 else 'ahead of'} the gateway"
    if distance <= SOME_SKEW_SECONDS:
        return Finding("clock", Verdict.OK, measured)
    verdict = Verdict.FAIL if distance > MOST_SKEW_SECONDS else Verdict.WARN
    return Finding("clock", verdict, measured, "turn on time synchronisation: `timedatectl set-ntp true`, on both machines")


def profile_file(path: Path) -> Finding:
    if not path.exists():
        return Finding("profile", Verdict.OK, f"there is none at {path}")
    try:
        book = profiles.read(path)
    except profiles.ProfileProblem as problem:
        return Finding("profile", Verdict.FAIL, str(problem), "mend the file, or remove it and run `penstock profiles save`")
    if profiles.readable_by_others(path):
        return Finding("profile", Verdict.FAIL, f"{path} holds keys and others may read it", f"chmod 600 {path}")
    if book.default and book.default not in book.profiles:
        return Finding("profile", Verdict.WARN, f"{path}: the default {book.default!r} is not there", "`penstock profiles use NAME`")
    return Finding("profile", Verdict.OK, f"{path}, default {book.default or 'none'}")


def environment(variables: Mapping[str, str]) -> Finding:
    """A variable that looks like a setting and is none is usually a typing mistake."""
    from penstock.app.settings import ENVIRONMENT_PREFIX, Settings

    known = {f"{ENVIRONMENT_PREFIX}{name}".upper() for name in Settings.model_fields} | OTHER_VARIABLES
    ours = [name for name in variables if name.upper().startswith(ENVIRONMENT_PREFIX)]
    unknown = sorted(name for name in ours if name.upper().partition("__")[0] not in known)
    if unknown:
        return Finding("environment", Verdict.WARN, f"not a setting: {', '.join(unknown)}", "`penstock env-example` lists them all")
    return Finding("environment", Verdict.OK, f"{len(ours)} PENSTOCK_* variables")
