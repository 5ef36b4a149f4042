"""`penstock batch`: files of requests, run at the price of batches. A run that was interrupted goes on where it was."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.client import batch_files, prompt_files
from penstock.cli.client.api import Api, segment
from penstock.cli.client.batch_files import RunState
from penstock.cli.client.prompt_files import PromptOptions
from penstock.cli.client.served_models import model_ids
from penstock.cli.command import Session, gateway_command, group
from penstock.cli.exits import ExitCode, Failed, RequestRefused
from penstock.cli.output.batch_progress import BatchProgress
from penstock.cli.output.moments import date

app = group("Batches: run a file of requests, list, show, cancel, results.")

BatchId = Annotated[str, typer.Argument(metavar="BATCH_ID", help="Id of the batch, from `penstock batch list`.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="File for the answers. [FILE.output.jsonl]")]
ErrorsOption = Annotated[Path | None, typer.Option("--errors", metavar="FILE", help="File for the lines that failed. [FILE.errors.jsonl]")]
_LOOK_EVERY_SECONDS = 1.0
_PATIENCE_SECONDS = 300.0
"""How long the gateway may be unreachable while the command waits for a batch."""
_OVER = frozenset({"completed", "failed", "expired", "cancelled"})


@app.command(epilog="Example: penstock batch run requests.jsonl --wait")
@gateway_command
def run(
    session: Session,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Requests, one JSON object a line: custom_id, method, url, body. Or prompts: FILE.txt.")
    ],
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="For FILE.txt: the model. [the only one there is]")] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="For FILE.txt: the system prompt.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, metavar="N", help="For FILE.txt: tokens of each answer at most.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end, then download the results.")] = False,
    output: OutputOption = None,
    errors: ErrorsOption = None,
    state: Annotated[Path | None, typer.Option(metavar="FILE", help="File that remembers the run. [FILE.batch.json]")] = None,
    again: Annotated[bool, typer.Option("--again", help="Start a new batch although this file was sent before.")] = False,
) -> int:
    """Run a file of requests as a batch.

    A file that ends in .txt has one prompt a line. The same command again follows the batch that it started. Exit code 1 if a line fails.
    """
    source = _source(session, file, model, system, max_tokens)
    note = state or batch_files.beside(file, ".batch.json")
    known = None if again else batch_files.read_state(note, source.sha256, session.api.connection.root)
    begun = known if known is not None and known.batch_id else _begin(session, source, note, known)
    batch = session.api.get(f"/v1/batches/{segment(begun.batch_id)}")
    if not wait:
        session.out.item(batch, _fields(batch))
        if not session.out.json:
            session.out.note(f"follow it with: penstock batch run {file} --wait")
        return 0
    batch = _follow(session, batch, file)
    code = _fetch(session, batch, output or batch_files.beside(file, ".output.jsonl"), errors or batch_files.beside(file, ".errors.jsonl"))
    note.unlink(missing_ok=True)
    return code


@app.command("list", epilog="Example: penstock batch list")
@gateway_command
def list_batches(session: Session, limit: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="Batches at most.")] = 20) -> None:
    """List the newest batches."""
    answer = session.api.get("/v1/batches", limit=limit)
    rows = [(each["id"], each["status"], each["endpoint"], *_counts(each), date(each["created_at"])) for each in answer["data"]]
    session.out.table(answer, ("id", "status", "endpoint", "lines#", "completed#", "failed#", "created"), rows)


@app.command(epilog="Example: penstock batch show batch_344554d078f39800")
@gateway_command
def show(session: Session, batch_id: BatchId) -> None:
    """Show one batch, with the errors of its file."""
    batch = session.api.get(f"/v1/batches/{segment(batch_id)}")
    session.out.item(batch, _fields(batch))


@app.command(epilog="Example: penstock batch cancel batch_344554d078f39800")
@gateway_command
def cancel(session: Session, batch_id: BatchId) -> None:
    """Cancel a batch. Answers that exist by then can be downloaded."""
    batch = session.api.post(f"/v1/batches/{segment(batch_id)}/cancel")
    session.out.item(batch, _fields(batch))


@app.command(epilog="Example: penstock batch results batch_344554d078f39800 --output answers.jsonl")
@gateway_command
def results(session: Session, batch_id: BatchId, output: OutputOption = None, errors: ErrorsOption = None) -> int:
    """Download the results of a batch that has ended. Exit code 1 if a line failed."""
    batch = session.api.get(f"/v1/batches/{segment(batch_id)}")
    if batch["status"] not in _OVER:
        raise Failed(f"the batch is {batch['status']}", ExitCode.FAILURE, hint="wait for it with `penstock batch run FILE --wait`")
    return _fetch(session, batch, output or Path(f"{batch_id}.output.jsonl"), errors or Path(f"{batch_id}.errors.jsonl"))


@dataclass(frozen=True, slots=True)
class _Source:
    """What is sent: a file, or the requests that were made of its prompts."""

    file: Path
    sha256: str
    endpoint: str
    requests: bytes | None = None

    def upload(self, api: Api) -> str:
        if self.requests is None:
            return batch_files.upload(api, self.file)
        with prompt_files.beside_uploads(self.file, self.requests) as path:
            return batch_files.upload(api, path)


def _source(session: Session, file: Path, model: str | None, system: str | None, max_tokens: int | None) -> _Source:
    if not prompt_files.is_prompts(file):
        if (model, system, max_tokens) != (None, None, None):
            raise Failed("--model, --system and --max-tokens belong to a file of prompts, which ends in .txt", ExitCode.USAGE)
        return _Source(file, *batch_files.look_at(file))
    requests = prompt_files.requests_of(file, PromptOptions(model or _only_model(session), system, max_tokens))
    return _Source(file, prompt_files.digest(requests), prompt_files.CHAT, requests)


def _only_model(session: Session) -> str:
    ids = model_ids(session.api)
    if len(ids) != 1:
        raise Failed(f"name a model with --model, one of: {', '.join(ids[:10]) or 'none is there yet'}", ExitCode.USAGE)
    return str(ids[0])


def _begin(session: Session, source: _Source, note: Path, known: RunState | None) -> RunState:
    """Upload and start, noting each step: an interrupted run neither uploads twice nor starts two batches."""
    noted = known or RunState(session.api.connection.root, source.sha256, batch_files.new_token())
    if not noted.file_id:
        session.out.note(f"uploading {source.file}")
        noted = noted.at(file_id=source.upload(session.api))
        batch_files.write_state(note, noted)
    found = _started_before(session, noted.token) if known is not None else None
    if found is None:
        body = {
            "input_file_id": noted.file_id,
            "endpoint": source.endpoint,
            "completion_window": "24h",
            "metadata": {batch_files.TOKEN_NAME: noted.token},
        }
        found = session.api.post("/v1/batches", body)["id"]
    noted = noted.at(batch_id=found)
    batch_files.write_state(note, noted)
    return noted


def _started_before(session: Session, token: str) -> str | None:
    """The batch of a run whose answer never arrived."""
    page = session.api.get("/v1/batches", limit=100)
    return next((each["id"] for each in page["data"] if (each["metadata"] or {}).get(batch_files.TOKEN_NAME) == token), None)


def _follow(session: Session, batch: Mapping[str, Any], file: Path) -> Mapping[str, Any]:
    silent_since: float | None = None
    with BatchProgress(quiet=session.out.json, name=file.name) as progress:
        try:
            while True:
                progress.show(batch["status"], *_counts(batch))
                if batch["status"] in _OVER:
                    return batch
                time.sleep(_LOOK_EVERY_SECONDS)
                try:
                    batch = session.api.get(f"/v1/batches/{segment(batch['id'])}")
                    silent_since = None
                except Failed as error:
                    silent_since = silent_since or time.monotonic()
                    if _is_final(error) or time.monotonic() - silent_since > _PATIENCE_SECONDS:
                        raise
        except KeyboardInterrupt:
            session.out.note(f"the batch continues; follow it with: penstock batch run {file} --wait")
            raise


def _is_final(error: Failed) -> bool:
    """A refusal that asking again will not change; a gateway that is away comes back."""
    return isinstance(error, RequestRefused) and error.status < 500 and error.status not in (408, 429)


def _fetch(session: Session, batch: Mapping[str, Any], output: Path, errors: Path) -> int:
    places = {}
    for file_id, place in ((batch["output_file_id"], output), (batch["error_file_id"], errors)):
        if file_id is not None:
            batch_files.download(session.api, file_id, place)
            places[file_id] = place
    files = {"output": _place(batch["output_file_id"], places), "errors": _place(batch["error_file_id"], places)}
    session.out.item({**batch, "files": files}, [*_fields(batch), *files.items()])
    well = batch["status"] == "completed" and batch["request_counts"]["failed"] == 0
    return ExitCode.OK if well else ExitCode.FAILURE


def _place(file_id: str | None, places: Mapping[str, Path]) -> str | None:
    return None if file_id is None else str(places[file_id])


def _counts(batch: Mapping[str, Any]) -> tuple[int, int, int]:
    counts = batch["request_counts"]
    return counts["total"], counts["completed"], counts["failed"]


def _fields(batch: Mapping[str, Any]) -> list[tuple[str, Any]]:
    total, completed, failed = _counts(batch)
    faults = (batch["errors"] or {}).get("data", [])
    ended_at = next((batch[name] for name in ("completed_at", "failed_at", "expired_at", "cancelled_at") if batch[name]), None)
    return [
        ("id", batch["id"]),
        ("status", batch["status"]),
        ("endpoint", batch["endpoint"]),
        ("model", batch["model"]),
        ("lines", total),
        ("completed", completed),
        ("failed", failed),
        ("cost", ", ".join(f"{micros / 1_000_000:.6f} {currency}" for currency, micros in (batch.get("cost_micros") or {}).items())),
        ("created", date(batch["created_at"])),
        ("ended", date(ended_at) if ended_at else None),
        *(("error", f"line {fault['line']}: {fault['message']}" if fault["line"] else fault["message"]) for fault in faults),
    ]
