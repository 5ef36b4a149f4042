"""The real thing for live tests: `penstock up` as a process of its own, with its own store, on a free port."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import ending

READY_SECONDS = 100.0


@dataclass(frozen=True)
class Running:
    """What `penstock up --json` printed, and its process."""

    base_url: str
    dashboard_url: str
    api_key: str
    join_token: str
    admin_email: str
    admin_password: str
    profile: str
    process: "subprocess.Popen[bytes]"
    log: Path
    """Where its standard error goes."""


@contextmanager
def penstock_up(directory: Path, flags: Sequence[str] = (), **environment: str) -> Iterator[Running]:
    """A platform that lives in `directory`, stopped with SIGTERM at the end."""
    command = [sys.executable, "-m", "penstock", "up", "--json", "--port", "0", "--no-discover", "--data-dir", str(directory), *flags]
    surroundings = ending.watched({**os.environ, "PENSTOCK_PROFILE": str(directory / "profiles.toml"), **environment})
    log = directory / "up.log"
    with log.open("wb") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=surroundings) as process:
        try:
            yield Running(**json.loads(_line(process, log)), process=process, log=log)
        finally:
            ending.end(process, log)


def _line(process: "subprocess.Popen[bytes]", log: Path) -> bytes:
    """The one line that it prints when it is ready."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], READY_SECONDS)
    line = process.stdout.readline() if ready else b""
    assert line, f"penstock up did not become ready:\n{log.read_text()[-4000:]}"
    return line
