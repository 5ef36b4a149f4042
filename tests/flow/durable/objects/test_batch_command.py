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
from tests.support.waiting import until, until_answer


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


async def test_batch_shows_the_cost_that_the_ledger_has(terminal: Terminal) -> None:
    terminal.open.set()
    platform = terminal.running_gateway.platform
    price = {"input_per_million": 3_000_000, "output_per_million": 7_000_000, "currency": "EUR"}
    await platform.http.put(f"/api/models/{MODEL}", json={"price": price})
    await until(lambda: platform.gateway.deps.catalogue.price(MODEL).currency == "EUR")
    code, shown, _ = await terminal.run("run", str(terminal.file(3)), "--wait")
    assert code == 0

    async def billed() -> int:
        rows = (await platform.http.get("/api/usage")).json()["data"]
        return sum(row["cost_micros"] for row in rows) if sum(row["requests"] for row in rows) == 3 else 0

    assert shown["cost_micros"] == {"EUR": await until_answer(billed, bool, 20.0)}
    shown_again = await asyncio.to_thread(CliRunner().invoke, app, ["batch", "show", shown["id"]], env=terminal.environment)
    assert f"{shown['cost_micros']['EUR'] / 1_000_000:.6f} EUR" in shown_again.stdout


async def test_file_of_plain_prompts_is_run_as_chats(terminal: Terminal) -> None:
    terminal.open.set()
    file = terminal.directory / "prompts.txt"
    file.write_bytes("\ufeffWhat is a queue?\r\n\n  Wie spät ist es?\n".encode())
    code, shown, _ = await terminal.run("run", str(file), "--wait", "--system", "Be brief.", "--max-tokens", "9")
    assert (code, shown["request_counts"]) == (0, {"total": 2, "completed": 2, "failed": 0})
    assert names(Path(f"{file}.output.jsonl")) == ["line-1", "line-3"]
    bodies = sorted((json.loads(each.body) for each in terminal.running_gateway.server.requests), key=lambda body: str(body["messages"]))
    assert [[message["content"] for message in body["messages"]] for body in bodies] == [
        ["Be brief.", "What is a queue?"],
        ["Be brief.", "Wie spät ist es?"],
    ]
    assert {(body["model"], body["max_tokens"]) for body in bodies} == {(MODEL, 9)}
    assert sorted(path.name for path in file.parent.glob("prompts*")) == ["prompts.txt", "prompts.txt.output.jsonl"]


async def test_changed_options_of_prompts_start_another_batch(terminal: Terminal) -> None:
    file = terminal.directory / "prompts.txt"
    file.write_text("What is a queue?")
    first = (await terminal.run("run", str(file), "--model", MODEL))[1]["id"]
    assert (await terminal.run("run", str(file), "--model", MODEL))[1]["id"] == first
    assert (await terminal.run("run", str(file), "--model", MODEL, "--system", "Be brief."))[1]["id"] != first


@pytest.mark.parametrize(
    ("name", "content", "options", "sentence"),
    [
        ("lines.jsonl", '{"custom_id": "ä"}'.encode("latin-1"), [], "must be UTF-8: invalid continuation byte in line 1"),
        ("lines.jsonl", '{"custom_id": "a"}'.encode("utf-16"), [], "must be UTF-8"),
        ("lines.jsonl", '{"custom_id": "a"}'.encode("utf-16-le"), [], "must be UTF-8: line 1 has a NUL"),
        ("prompts.txt", "ä".encode("latin-1"), ["--model", MODEL], "must be UTF-8"),
        ("prompts.txt", b" \n", ["--model", MODEL], "has no prompt"),
        ("lines.jsonl", b"What is a queue?", [], "ends in .txt"),
        ("lines.jsonl", b"{}", ["--model", MODEL], "belong to a file of prompts"),
    ],
    ids=["latin", "utf-16", "utf-16-le", "latin prompts", "no prompt", "prompts in a jsonl", "model without prompts"],
)
async def test_file_that_cannot_be_sent_says_why(terminal: Terminal, name: str, content: bytes, options: list[str], sentence: str) -> None:
    file = terminal.directory / name
    file.write_bytes(content)
    code, _, said = await terminal.run("run", str(file), *options)
    assert (code, sentence in said) == (2, True), said


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
