"""The files of `penstock batch`: the input and its first line, the note of a run, uploads and downloads."""

import hashlib
import json
import os
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from penstock.cli.client.api import Api, network_problems, refusal, segment
from penstock.cli.exits import ExitCode, Failed, cannot_read

TOKEN_NAME = "penstock_run"  # noqa: S105 - the name of one
_PIECE_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class RunState:
    """What a run has done so far, as it is noted beside its file."""

    root: str
    """The gateway."""
    sha256: str
    """Of the input: another content is another run."""
    token: str
    """In the batch's metadata: finds a batch whose making was never answered."""
    file_id: str = ""
    batch_id: str = ""

    def at(self, **fields: str) -> "RunState":
        return replace(self, **fields)


def beside(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)


def new_token() -> str:
    return secrets.token_hex(8)


def look_at(file: Path) -> tuple[str, str]:
    """The content's digest, and the url of the first line, which must be that of all. Raises Failed."""
    first, digest = b"", hashlib.sha256()
    try:
        with file.open("rb") as content:
            for number, text in enumerate(content, 1):
                digest.update(text)
                _check_utf_8(text, file, number)
                first = first or text.strip()
    except OSError as error:
        raise cannot_read(file, error) from error
    try:
        url = json.loads(first.removeprefix(_BOM))["url"]
    except (ValueError, KeyError, TypeError):
        raise Failed(
            f"the first line of {file} is not a request, which is a JSON object with custom_id, method, url and body",
            ExitCode.USAGE,
            hint="a file of plain prompts, one a line, ends in .txt",
        ) from None
    if not isinstance(url, str):
        raise Failed(f"the url in the first line of {file} is not a text", ExitCode.USAGE)
    return digest.hexdigest(), url


def _check_utf_8(text: bytes, file: Path, number: int) -> None:
    """Raises Failed."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Failed(f"{file} must be UTF-8: {error.reason} in line {number}", ExitCode.USAGE) from error
    if b"\0" in text:
        raise Failed(f"{file} must be UTF-8: line {number} has a NUL, as UTF-16 has", ExitCode.USAGE)


def read_state(note: Path, sha256: str, root: str) -> RunState | None:
    """The run of this content on this gateway that is noted there; None: there is none. Raises Failed."""
    try:
        state = RunState(**json.loads(note.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise Failed(f"cannot read {note}: {error}", hint="remove it, or name another one with --state") from error
    return state if (state.root, state.sha256) == (root, sha256) else None


def write_state(note: Path, state: RunState) -> None:
    """Whole or not at all. Raises Failed."""
    part = note.with_name(note.name + ".part")
    try:
        part.write_text(json.dumps(asdict(state)) + "\n", encoding="utf-8")
        part.replace(note)
    except OSError as error:
        raise Failed(f"cannot write {note}: {error.strerror}", hint="name another place with --state") from error


def upload(api: Api, file: Path) -> str:
    """The id of the file. It goes out piece by piece."""
    with file.open("rb") as content, network_problems(api.connection.root):
        response = api.client.post("/v1/files", data={"purpose": "batch"}, files={"file": (file.name, content)})
    if not response.is_success:
        raise refusal(response.status_code, response.headers, response.content)
    return str(response.json()["id"])


def download(api: Api, file_id: str, place: Path) -> None:
    """Under its name only when it is whole. Raises Failed."""
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    path = f"/v1/files/{segment(file_id)}/content"
    try:
        with network_problems(api.connection.root), api.client.stream("GET", path) as response, part.open("wb") as content:
            if not response.is_success:
                raise refusal(response.status_code, response.headers, response.read())
            for piece in response.iter_bytes(_PIECE_BYTES):
                content.write(piece)
        part.replace(place)
    except OSError as error:
        raise Failed(f"cannot write {place}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
