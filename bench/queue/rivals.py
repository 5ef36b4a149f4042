"""How each queue of the race is installed and started: two workers, and a driver that submits to them.

A new rival is one file in `sides/`, one function here and one line in `CONTENDERS`.
"""

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import QUEUES, LeftOut, python_packages
from bench.machine import ROOT
from bench.processes import Process, announced, free_port, running
from bench.queue.database import database
from bench.queue.driving import Driver

SIDES = Path(__file__).parent / "sides"
_LOUD = {"PENSTOCK_ADMISSION__API_PER_MINUTE": "1000000", "PENSTOCK_DISCOVER": "false"}
_RUNNERS = ("one", "two")
_PROCESSES = "1"
"""For functions, of each runner: two cores do not run more at a time."""


@dataclass(frozen=True, slots=True)
class Place:
    directory: Path
    """Its own, for as long as it runs."""
    cache: Path
    postgres: str
    """A server in which it may make a database."""
    penstock: Path


Contender = Callable[[Place], AbstractContextManager[Driver]]


@contextmanager
def penstock_direct(place: Place) -> Iterator[Driver]:
    with database(place.postgres) as url, ExitStack() as closing:
        driver = closing.enter_context(_driving([sys.executable, "-m", "bench.queue.sides.on_penstock", "direct"], place, url))
        driver.wait_until_ready()  # it has made the tables
        for name in _RUNNERS:
            flags = ["--store", url, "--import", "bench.queue.sides.chores", "--processes", _PROCESSES, "--name", name]
            _worker(closing, place, [place.penstock, "runner", *flags], {"PYTHONPATH": str(ROOT)})
        yield driver


@contextmanager
def penstock_http_postgres(place: Place) -> Iterator[Driver]:
    with database(place.postgres) as url, _penstock_http(place, ["--store", url]) as driver:
        yield driver


@contextmanager
def penstock_http_sqlite(place: Place) -> Iterator[Driver]:
    with _penstock_http(place, []) as driver:
        yield driver


@contextmanager
def _penstock_http(place: Place, store: list[str]) -> Iterator[Driver]:
    flags = ["--json", "--port", "0", "--no-discover", "--workers", "0", "--data-dir", str(place.directory / "data"), *store]
    own = _LOUD | {"PENSTOCK_PROFILE": str(place.directory / "profiles.toml")}
    with ExitStack() as closing:
        up = running([place.penstock, "up", *flags], place.directory / "up.log", announces=True, environment=own)
        facts = announced(closing.enter_context(up))
        root = facts["base_url"].removesuffix("/v1")
        for name in _RUNNERS:
            flags = ["--join", root, "--import", "bench.queue.sides.chores", "--processes", _PROCESSES, "--name", name]
            token = {"PENSTOCK_RUNNER__TOKEN": facts["join_token"], "PYTHONPATH": str(ROOT)}
            _worker(closing, place, [place.penstock, "runner", *flags, "--state-dir", str(place.directory / name)], token)
        command = [sys.executable, "-m", "bench.queue.sides.on_penstock", "http"]
        yield closing.enter_context(_driving(command, place, root, {"BENCH_API_KEY": facts["api_key"]}))


def _on_redis(name: str, worker: Callable[[Path], list[str | Path]], *, durable: bool) -> Contender:
    @contextmanager
    def contender(place: Place) -> Iterator[Driver]:
        home = python_packages(place.cache, name, *QUEUES[name])
        with ExitStack() as closing:
            url = closing.enter_context(_redis(place, durable=durable))
            own = {"BENCH_ADDRESS": url, "BENCH_DURABLE": str(int(durable)), "PYTHONPATH": str(SIDES)}
            for _ in _RUNNERS:
                _worker(closing, place, worker(home), own)
            yield closing.enter_context(_driving([home / "python", SIDES / f"on_{name}.py", "drive"], place, url, own))

    return contender


def _on_postgres(name: str) -> Contender:
    @contextmanager
    def contender(place: Place) -> Iterator[Driver]:
        home = python_packages(place.cache, name, *QUEUES[name])
        program = [home / "python", SIDES / f"on_{name}.py"]
        with database(place.postgres) as url, ExitStack() as closing:
            own = {"BENCH_ADDRESS": url}
            with running([*program, "prepare"], place.directory / "prepare.log", environment=own) as preparing:
                preparing.wait_for_end()
            for _ in _RUNNERS:
                _worker(closing, place, [*program, "work"], own)
            yield closing.enter_context(_driving([*program, "drive"], place, url, own))

    return contender


@contextmanager
def _redis(place: Place, *, durable: bool) -> Iterator[str]:
    """A server of our own; durable: each command is on the disk before it is answered."""
    program = shutil.which("redis-server")
    if program is None:
        raise LeftOut("needs redis-server; on Debian and Ubuntu: apt-get install redis-server")
    port = free_port()
    kept = ["--appendonly", "yes", "--appendfsync", "always"] if durable else ["--appendonly", "no"]
    flags = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(place.directory), "--save", "", *kept]
    with running([program, *flags], place.directory / "redis.log") as server:
        server.wait_for_port(port)
        yield f"redis://127.0.0.1:{port}/0"


def _worker(closing: ExitStack, place: Place, command: list[str | Path], environment: Mapping[str, str]) -> Process:
    log = place.directory / f"worker-{len(list(place.directory.glob('worker-*')))}.log"
    return closing.enter_context(running(command, log, environment=environment))


@contextmanager
def _driving(command: Sequence[str | Path], place: Place, address: str, environment: Mapping[str, str] | None = None) -> Iterator[Driver]:
    own = {"BENCH_ADDRESS": address, **(environment or {})}
    with running(command, place.directory / "driver.log", announces=True, asks=True, environment=own, directory=ROOT) as process:
        yield Driver(process)


def _celery(home: Path) -> list[str | Path]:
    return [home / "python", SIDES / "on_celery.py", "work"]


def _arq(home: Path) -> list[str | Path]:
    return [home / "python", SIDES / "on_arq.py", "work"]


def _dramatiq(home: Path) -> list[str | Path]:
    return [home / "python", "-m", "dramatiq", "on_dramatiq", "--processes", "1", "--path", SIDES]


PENSTOCK = "penstock, PostgreSQL"
CONTENDERS: Mapping[str, Contender] = {
    PENSTOCK: penstock_direct,
    "penstock over HTTP, PostgreSQL": penstock_http_postgres,
    "penstock over HTTP, SQLite": penstock_http_sqlite,
    "procrastinate": _on_postgres("procrastinate"),
    "pgqueuer": _on_postgres("pgqueuer"),
    "celery, durable": _on_redis("celery", _celery, durable=True),
    "celery": _on_redis("celery", _celery, durable=False),
    "arq, durable": _on_redis("arq", _arq, durable=True),
    "arq": _on_redis("arq", _arq, durable=False),
    "dramatiq, durable": _on_redis("dramatiq", _dramatiq, durable=True),
    "dramatiq": _on_redis("dramatiq", _dramatiq, durable=False),
}
