"""A server is started, watched, started again, and never left behind."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock.compute.engines import EngineUnavailable
from penstock.compute.engines._supervised.log_file import LogFile
from penstock.compute.engines._supervised.supervisor import ServerPlan, ServerState, Supervisor
from tests.support.ending import doomed
from tests.support.waiting import until

SERVER = Path(__file__).with_name("small_server.py")


class Kept:
    """A supervisor of a small server, and how to ask it."""

    def __init__(self, folder: Path, **plan: Any) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.broken = folder / "broken"
        command = (sys.executable, str(SERVER), str(port), str(self.broken))
        fast = {"first_pause": 0.05, "check_every": 0.1, "stop_seconds": 5.0, "start_seconds": 20.0}
        self.log = LogFile(folder / "engine.log")
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=0.5, trust_env=False)
        self.supervisor = Supervisor(ServerPlan(command=command, **{**fast, **plan}), self._check, self.log)

    async def _check(self) -> bool:
        try:
            return (await self.client.get("/")).status_code == 200
        except httpx.HTTPError:
            return False

    async def processes(self) -> tuple[int, int]:
        """Ids of the server and of the child that left its group."""
        server, child = (await self.client.get("/")).text.split()
        return int(server), int(child)

    async def do(self, what: str) -> None:
        with contextlib.suppress(httpx.HTTPError):
            await self.client.get(f"/{what}")

    async def restarted(self) -> None:
        await until(lambda: self.supervisor.restarts > 0 and self.supervisor.state is ServerState.READY, 20)


@contextlib.asynccontextmanager
async def kept(folder: Path, **plan: Any) -> AsyncIterator[Kept]:
    one = Kept(folder, **plan)
    try:
        await one.supervisor.open()
        yield one
    finally:
        await one.supervisor.close()
        await one.client.aclose()


def runs(pid: int) -> bool:
    """A process that is dead and not yet waited for does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_nothing_is_left_of_a_server_that_is_stopped(tmp_path: Path) -> None:
    async with kept(tmp_path) as one:
        processes = await one.processes()
        assert all(map(runs, processes))
    assert one.supervisor.state is ServerState.STOPPED
    await until(lambda: not any(map(runs, processes)), 20)


async def test_server_has_none_of_the_installations_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PENSTOCK_SECRET_KEY", "PENSTOCK_WORKER__TOKEN", "penstock_store_url"):
        monkeypatch.setenv(name, "secret-1")
    monkeypatch.setenv("HF_TOKEN", "users-1")
    async with kept(tmp_path, environment={"VLLM_API_KEY": "engines-1"}) as one:
        server, _ = await one.processes()
        given = await asyncio.to_thread(Path(f"/proc/{server}/environ").read_bytes)
    assert b"secret-1" not in given
    assert b"HF_TOKEN=users-1" in given
    assert b"VLLM_API_KEY=engines-1" in given


@pytest.mark.fault("Supervised engine crashes", "started again with growing pauses, told in its log")
async def test_a_crash_is_followed_by_a_start_and_told_in_the_log(tmp_path: Path) -> None:
    async with kept(tmp_path) as one:
        before = await one.processes()
        await one.do("crash")
        await one.restarted()
        assert (await one.processes())[0] != before[0]
        assert not any(map(runs, before))
        tail = one.log.tail(10)
        assert "about to crash" in tail
        assert "penstock: it ended with code 3; started again in 0.05 s" in tail
        assert tail.count("listening") == 2


@pytest.mark.fault("Supervised engine hangs", "killed and started again")
async def test_a_server_that_hangs_is_killed_and_started_again(tmp_path: Path) -> None:
    async with kept(tmp_path, misses=2) as one:
        before = await one.processes()
        await one.do("hang")
        await one.restarted()
        assert not any(map(runs, before))
        assert any("did not answer 2 checks in a row" in line for line in one.log.tail(10))


async def test_pauses_double_up_to_the_longest(tmp_path: Path) -> None:
    async with kept(tmp_path, longest_pause=0.2) as one:
        one.broken.touch()
        await one.do("crash")
        await until(lambda: one.supervisor.restarts >= 4, 20)
        one.broken.unlink()
        await one.restarted()
        said = [line.rsplit(maxsplit=2)[1] for line in one.log.tail(40) if "started again in" in line]
        assert said[:4] == ["0.05", "0.1", "0.2", "0.2"]


async def test_a_server_that_cannot_start_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(EngineUnavailable, match=r"(?s)it ended with code 1.*no more room on the device"):
        async with kept(tmp_path, starts=2):
            pass


async def test_a_server_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    one = Kept(tmp_path, starts=1, start_seconds=0.2)
    one.client.base_url = httpx.URL("http://127.0.0.1:9")
    with pytest.raises(EngineUnavailable, match=r"not ready after 0\.2 s"):
        await one.supervisor.open()
    await one.supervisor.close()
    await one.client.aclose()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
async def test_a_server_that_takes_too_much_memory_is_started_again(tmp_path: Path) -> None:
    async with kept(tmp_path, memory_bytes=150_000_000) as one:
        await one.do("grow")
        await one.restarted()
        assert any("150000000 are allowed" in line for line in one.log.tail(10))


async def test_a_program_that_cannot_be_run_is_said(tmp_path: Path) -> None:
    one = Kept(tmp_path)
    nothing = ServerPlan(command=(str(tmp_path / "nothing"),), starts=1, check_every=0.05)
    supervisor = Supervisor(nothing, one._check, one.log)
    with pytest.raises(EngineUnavailable, match="cannot be run: No such file"):
        await supervisor.open()
    await supervisor.close()
    await one.client.aclose()


@pytest.mark.fault("Worker of a supervised engine killed", "the engine process ends with it")
async def test_nothing_is_left_when_the_worker_is_killed(tmp_path: Path) -> None:
    """kill -9 of the process that supervises: the keeper hears its life line end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "penstock", "worker", "--engine", "vllm", "--model", "any", "--state-dir", str(tmp_path)),
        *("--engine-option", f"command={sys.executable} {SERVER} {{port}}", "--engine-option", f"port={port}"),
        stderr=asyncio.subprocess.DEVNULL,
        env=doomed(os.environ),
    )
    processes: tuple[int, ...] = ()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client, asyncio.timeout(60):
            while not processes:
                with contextlib.suppress(httpx.HTTPError):
                    processes = tuple(map(int, (await client.get("/")).text.split()))
                await asyncio.sleep(0.05)
    finally:
        worker.kill()
        await worker.wait()
    await until(lambda: not any(map(runs, processes)), 20)


def test_a_log_keeps_its_end_over_the_change_of_files(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "engine.log", largest_bytes=100)
    for number in range(42):
        log.write(f"line {number}\n".encode())
    assert log.tail(5) == [f"line {number}" for number in range(37, 42)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine.log", "engine.log.1"]
    assert log.tail(0) == []
