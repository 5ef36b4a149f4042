"""Files of prompts, one a line, as the requests of a batch."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.cli.exits import ExitCode, Failed, cannot_read

ENDING = ".txt"
CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class PromptOptions:
    """What every prompt of a file is sent with."""

    model: str
    system: str | None = None
    max_tokens: int | None = None


def is_prompts(file: Path) -> bool:
    return file.suffix.lower() == ENDING


def requests_of(file: Path, options: PromptOptions) -> bytes:
    """A batch's lines; `custom_id` names the line of the file. Blank lines are left out. Raises Failed."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Failed(f"{file} must be UTF-8: {error.reason} at byte {error.start}", ExitCode.USAGE) from error
    except OSError as error:
        raise cannot_read(file, error) from error
    lines = [_line(number, prompt.strip(), options) for number, prompt in enumerate(text.split("\n"), 1) if prompt.strip()]
    if not lines:
        raise Failed(f"{file} has no prompt", ExitCode.USAGE)
    return "".join(lines).encode()


def _line(number: int, prompt: str, options: PromptOptions) -> str:
    system = [] if options.system is None else [{"role": "system", "content": options.system}]
    body: dict[str, Any] = {"model": options.model, "messages": [*system, {"role": "user", "content": prompt}]}
    if options.max_tokens is not None:
        body["max_tokens"] = options.max_tokens
    return json.dumps({"custom_id": f"line-{number}", "method": "POST", "url": CHAT, "body": body}, ensure_ascii=False) + "\n"


def digest(requests: bytes) -> str:
    return hashlib.sha256(requests).hexdigest()


@contextmanager
def beside_uploads(file: Path, requests: bytes) -> Iterator[Path]:
    """The requests as a file, for as long as they are uploaded."""
    with tempfile.TemporaryDirectory(prefix="penstock-") as directory:
        path = Path(directory) / f"{file.stem}.jsonl"
        path.write_bytes(requests)
        yield path
