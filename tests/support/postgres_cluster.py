"""A PostgreSQL server of a test's own, which may be killed."""

import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import postgres

_PROGRAMS = (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/local/bin"), Path("/usr/bin"))


class Cluster:
    """A PostgreSQL server of the test's own, which may be killed."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]

    @property
    def url(self) -> str:
        return f"postgresql://penstock@127.0.0.1:{self._port}/postgres"

    def make(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self._folder, "nobody")
        self._run("initdb", "-D", self._data, "-U", "penstock", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")

    def start(self) -> None:
        options = f"-p {self._port} -h 127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._run("pg_ctl", "-D", self._data, "-w", "-t", "60", "-o", options, "-l", f"{self._folder}/log", "start")

    def kill(self) -> None:
        """As a power cut would: no process of it gets to say goodbye."""
        first = int(self._pid_file.read_text().split()[0])
        others = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        ends = [os.pidfd_open(pid) for pid in (first, *map(int, others))]
        os.kill(first, signal.SIGKILL)
        for end in ends:  # the others notice the death of the first one
            assert select.select([end], [], [], 30)[0], "a process of the server outlived it"
            os.close(end)
        # Where nobody collects orphans, the first one's id is still taken, which a new server takes for a running one.
        self._pid_file.unlink()

    def freeze(self) -> None:
        """Connections to it are accepted, by the kernel, and nothing ever answers."""
        os.kill(int(self._pid_file.read_text().split()[0]), signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(int(self._pid_file.read_text().split()[0]), signal.SIGCONT)

    def stop(self) -> None:
        if self._pid_file.exists():
            self._run("pg_ctl", "-D", self._data, "-m", "immediate", "stop", check=False)

    @property
    def _data(self) -> str:
        return f"{self._folder}/data"

    @property
    def _pid_file(self) -> Path:
        return Path(self._data) / "postmaster.pid"

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        # PostgreSQL refuses to run as root.
        identity = ["setpriv", "--reuid=nobody", "--clear-groups"] if os.geteuid() == 0 else []
        command = [*identity, str(self._programs / program), *arguments]
        done = subprocess.run(command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=100)
        if check and done.returncode:
            log = self._folder / "log"
            raise RuntimeError(f"{program}: {done.stderr}\n{log.read_text() if log.exists() else ''}")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    programs = next((folder for folder in _PROGRAMS if (folder / "initdb").exists()), None)
    if programs is None:
        postgres.absent("no initdb on this machine")
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        postgres.absent("PostgreSQL does not run as root, and there is no setpriv to become somebody else")
    # Not pytest's folder: nobody cannot enter it.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        made = Cluster(programs, Path(folder))
        made.make()
        made.start()
        yield made
        made.stop()
