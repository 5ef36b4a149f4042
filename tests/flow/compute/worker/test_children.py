"""The worker processes of `penstock up`, as far as they can be stopped at any moment."""

import asyncio
import socket
import time
from pathlib import Path

from penstock.app.up.children import ChildPlan, WorkerProcesses
from tests.support.waiting import until

PATIENCE_SECONDS = 25.0
"""After it `stop` would kill what is left."""


async def test_server_in_its_pause_after_a_crash_is_not_started_to_be_stopped(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ["worker", "--engine", "sim", "--port", str(port), "--state-dir", str(tmp_path / "state")]
        children = WorkerProcesses()
        children.start(ChildPlan("poor", arguments, {}, tmp_path / "log"))
        await until(lambda: "poor" in children.running, 30)
        await until(lambda: "poor" not in children.running, 30)
        began = time.monotonic()
        await children.stop(PATIENCE_SECONDS)
        assert time.monotonic() - began < PATIENCE_SECONDS / 2
    assert (tmp_path / "log").read_text().count("ddress already in use") == 1


async def test_server_that_is_starting_is_stopped(tmp_path: Path) -> None:
    children = WorkerProcesses()
    children.start(ChildPlan("young", ["worker", "--engine", "sim", "--state-dir", str(tmp_path / "state")], {}, tmp_path / "log"))
    await asyncio.sleep(0)  # its process is being made
    began = time.monotonic()
    await children.stop(PATIENCE_SECONDS)
    assert time.monotonic() - began < PATIENCE_SECONDS / 2
    assert children.running == {}
