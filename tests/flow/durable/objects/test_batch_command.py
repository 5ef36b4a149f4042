"""`penstock batch` against a whole gateway: run, interrupted, run again, fetched."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from penstock.cli.main import app
from penstock.observe import logs
from tests.support.gateway import MODEL, Client, well
from tests.support.gateway_with_runner import GatewayWithRunner, gateway_with_runner
from tests.support.interrupts import interrupts_reach_children


@dataclass
class Terminal:
    running_gateway: GatewayWithRunner
    directory: Path
    open: asyncio.Event

    @property
    def environment(self) -> dict[str, str]:
        platform = self.running_gateway.platform
        return {
            "PENSTOCK_BASE_URL": f"{platform.gateway.base_url}/v1",
            "PENSTOCK_API_KEY": platform.first.api_key,
            "PENSTOCK_PROFILE": str(self.directory / "profiles.toml"),
        }

    async def run(self, *arguments: str) -> tuple[int, Any, str]:
        """Exit code, JSON of stdout, stderr."""
        result = await asyncio.to_thread(CliRunner().invoke, app, ["batch", *arguments, "--json"], env=self.environment)
        return result.exit_code, json.loads(result.stdout) if result.stdout else None, result.stderr

    def file(self, count: int, bad: int = 0) -> Path:
        lines = []
        for number in range(count + bad):
            body = {"model": MODEL, "messages": [{"role": "user", "content": "x"}] if number < count else []}
            lines.append(json.dumps({"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": body}))
        path = self.directory / "lines.jsonl"
        path.write_text("\n".join(lines))
        return path


def note_of(file: Path) -> dict[str, str]:
    """What a run has noted; nothing when there is no note."""
    path = Path(f"{file}.batch.json")
    noted: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return noted


def write_note(file: Path, note: dict[str, str]) -> None:
    Path(f"{file}.batch.json").write_text(json.dumps(note))


def names(path: Path) -> list[str]:
    return sorted(json.loads(line)["custom_id"] for line in path.read_text().splitlines())


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Terminal]:
    logs.configure("warning")  # the gateway is in this process, and what it logs must not be taken for the command's output
    gate = asyncio.Event()

    async def when_open(client: Client) -> None:
        await gate.wait()
        await well(client)

    async with gateway_with_runner(tmp_path / "data", when_open) as running_gateway:
        yield Terminal(running_gateway, tmp_path, gate)


async def test_batch_run_waits_and_downloads_the_answers(terminal: Terminal) -> None:
    terminal.open.set()
    file = terminal.file(5)
    code, shown, _ = await terminal.run("run", str(file), "--wait")
    assert (code, shown["status"], shown["request_counts"]) == (0, "completed", {"total": 5, "completed": 5, "failed": 0})
    assert shown["files"] == {"output": f"{file}.output.jsonl", "errors": None}
    assert names(Path(shown["files"]["output"])) == ["0", "1", "2", "3", "4"]
    assert sorted(path.name for path in file.parent.glob("lines*")) == ["lines.jsonl", "lines.jsonl.output.jsonl"]
    code, listed, _ = await terminal.run("list")
    assert (code, [each["id"] for each in listed["data"]]) == (0, [shown["id"]])
    assert (await terminal.run("show", shown["id"]))[1]["id"] == shown["id"]


async def test_failed_lines_give_exit_code_1(terminal: Terminal) -> None:
    terminal.open.set()
    code, shown, _ = await terminal.run("run", str(terminal.file(2, bad=1)), "--wait", "--errors", str(terminal.directory / "bad"))
    assert (code, shown["files"]["errors"]) == (1, str(terminal.directory / "bad"))
    assert names(terminal.directory / "bad") == ["2"]


async def test_interrupted_run_follows_the_same_batch_when_repeated(terminal: Terminal) -> None:
    """Ctrl-C ends the waiting, not the batch; the same command follows the same batch."""
    file = terminal.file(3)
    command = [sys.executable, "-m", "penstock", "batch", "run", str(file), "--wait"]
    environment = {**os.environ, **terminal.environment}
    with interrupts_reach_children():
        waiting = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, env=environment)
    await terminal.running_gateway.server.arrived.until(lambda: terminal.running_gateway.server.requests, 30)
    waiting.send_signal(signal.SIGINT)
    _, said = await asyncio.wait_for(waiting.communicate(), 20)
    assert waiting.returncode == 130
    assert b"the batch continues" in said
    noted = note_of(file)
    terminal.open.set()
    code, shown, _ = await terminal.run("run", str(file), "--wait")
    assert (code, shown["id"]) == (0, noted["batch_id"])
    assert note_of(file) == {}
    assert len((await terminal.run("list"))[1]["data"]) == 1


async def test_lost_answer_of_the_start_does_not_start_a_second_batch(terminal: Terminal) -> None:
    """The batch was made and its id was lost: it is found by what the run had noted before."""
    terminal.open.set()
    file = terminal.file(1)
    _, shown, _ = await terminal.run("run", str(file))
    write_note(file, {**note_of(file), "batch_id": ""})
    code, again, _ = await terminal.run("run", str(file))
    assert (code, again["id"]) == (0, shown["id"])


async def test_changed_file_starts_another_batch(terminal: Terminal) -> None:
    terminal.open.set()
    _, first, _ = await terminal.run("run", str(terminal.file(1)))
    _, same, _ = await terminal.run("run", str(terminal.file(1)))
    _, second, _ = await terminal.run("run", str(terminal.file(2)))
    _, again, _ = await terminal.run("run", str(terminal.file(2)), "--again")
    assert first["id"] == same["id"]
    assert len({first["id"], second["id"], again["id"]}) == 3


async def test_results_of_a_cancelled_batch_are_downloaded(terminal: Terminal) -> None:
    _, shown, _ = await terminal.run("run", str(terminal.file(2)))
    code, _, said = await terminal.run("results", shown["id"])
    assert code == 1
    assert "the batch is" in said

    async def status() -> str:
        found: str = (await terminal.run("show", shown["id"]))[1]["status"]
        return found

    await terminal.running_gateway.until(status, lambda found: found == "in_progress")
    assert (await terminal.run("cancel", shown["id"]))[1]["status"] == "cancelling"
    terminal.open.set()
    await terminal.running_gateway.until(status, lambda found: found == "cancelled")
    place = terminal.directory / "errors"
    code, fetched, _ = await terminal.run("results", shown["id"], "--errors", str(place), "--output", str(terminal.directory / "out"))
    assert (code, fetched["request_counts"]["total"]) == (1, 2)


@pytest.mark.parametrize(
    ("content", "said"), [("", "is not a request"), ("{", "is not a request"), ('{"url": 5}', "is not a text"), (None, "cannot read")]
)
async def test_invalid_first_line_is_a_usage_error(terminal: Terminal, content: str | None, said: str) -> None:
    file = terminal.directory / "bad.jsonl"
    if content is not None:
        file.write_text(content)
    code, _, errors = await terminal.run("run", str(file))
    assert code == 2
    assert said in errors


async def test_file_that_fails_validation_is_reported(terminal: Terminal) -> None:
    file = terminal.file(1)
    file.write_text(file.read_text() + "\nnonsense\n")
    code, shown, _ = await terminal.run("run", str(file), "--wait")
    assert (code, shown["status"], shown["errors"]["data"][0]["line"]) == (1, "failed", 2)
