"""On what, with what and when something was measured: without it a figure means nothing."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.contenders import INSTALLED, QUEUES
from bench.section import Section

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Provenance:
    command: str
    date: str
    cpu: str
    cores: int
    kernel: str
    versions: dict[str, str]

    @property
    def line(self) -> str:
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return f"`{self.command}`, {self.date}, {self.cores} cores of {self.cpu}, Linux {self.kernel}; {versions}."


def provenance(command: str, sections: Sequence[Section]) -> Provenance:
    return Provenance(
        command,
        datetime.now(UTC).date().isoformat(),
        cpu_model(_text(Path("/proc/cpuinfo"))),
        len(os.sched_getaffinity(0)),
        platform.release(),
        _versions({name for section in sections for name in section.data}),
    )


def cpu_model(cpuinfo: str) -> str:
    found = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _versions(took_part: Set[str]) -> dict[str, str]:
    found = {"penstock": _penstock(), "Python": platform.python_version(), "uvloop": version("uvloop")}
    found |= {
        "nginx": _first_number(["nginx", "-v"], path=f"{os.environ.get('PATH', '')}:/usr/sbin"),
        "wrk": _first_number(["wrk", "-v"]),
    }
    found |= {name: package.partition("==")[2] for name, package in INSTALLED.items() if name in took_part}
    found |= {name: packages[0].partition("==")[2] for name, packages in QUEUES.items() if name in took_part}
    if took_part & {"postgres", "queue-race"}:
        found |= {"PostgreSQL": _first_number(["psql", "--version"]), "Redis": _first_number(["redis-server", "--version"])}
    return {name: number for name, number in found.items() if number}


def _penstock() -> str:
    """The version, and the commit when there is one: a plus sign says that files were changed since."""
    described = _output(["git", "-C", str(ROOT), "describe", "--always", "--exclude=*", "--dirty=+"])
    return f"{version('penstock')} {f'({described})' if described else ''}".strip()


def _first_number(command: list[str], path: str | None = None) -> str:
    program = shutil.which(command[0], path=path)
    found = re.search(r"\d+(?:\.\d+)+", _output([program, *command[1:]])) if program else None
    return found[0] if found else ""


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).strip() if command[0] != "git" or done.returncode == 0 else ""


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
