"""Looks the packages of a lock up among known vulnerabilities: `python tools/audit.py requirements/dev.lock`.

A vulnerability fails. What the service cannot tell (it is out of reach, or a mirror answers for it) is said and does not:
a build must not depend on somebody's server.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 180


@dataclass(frozen=True, slots=True)
class Audit:
    """What the service said of a lock."""

    checked: int
    skipped: tuple[str, ...]
    findings: tuple[str, ...]


def read(report: dict[str, Any]) -> Audit:
    """The sense of pip-audit's JSON report."""
    packages = report.get("dependencies", [])
    return Audit(
        checked=sum("skip_reason" not in package for package in packages),
        skipped=tuple(package["name"] for package in packages if "skip_reason" in package),
        findings=tuple(
            f"{package['name']} {package['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'no release yet'}"
            for package in packages
            for found in package.get("vulns", [])
        ),
    )


def ask(lock: Path) -> Audit | None:
    """Run pip-audit on a lock with hashes; None when it could not finish."""
    options = ["--require-hashes", "--disable-pip", "--progress-spinner=off", "-f", "json"]
    command = [sys.executable, "-m", "pip_audit", "-r", str(lock), *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)  # noqa: S603 - the command is fixed
        return read(json.loads(done.stdout))
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return None


def main(lock: Path, ask: Callable[[Path], Audit | None] = ask) -> int:
    audit = ask(lock)
    if audit is None or not audit.checked:
        print(f"audit: the vulnerability service could not be asked about {lock}; nothing was checked")
        return 0
    print(f"audit: {audit.checked} packages of {lock} checked, {len(audit.skipped)} unknown to the service, {len(audit.findings)} findings")
    for finding in audit.findings:
        print(f"  {finding}")
    return 1 if audit.findings else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
