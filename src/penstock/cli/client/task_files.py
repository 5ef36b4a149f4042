"""Payloads and files of tasks, as the terminal names them."""

import json
import sys
from pathlib import Path
from typing import Any

from penstock.cli.exits import ExitCode, Failed, cannot_read


def read_payload(text: str) -> Any:
    """JSON, @FILE, or - for standard input. Raises Failed."""
    source = text
    if text == "-":
        source = sys.stdin.read()
    elif text.startswith("@"):
        source = _read(Path(text[1:]))
    try:
        return _json_of(source)
    except ValueError as error:
        raise Failed(f"the payload is not JSON: {error}", ExitCode.USAGE) from error


def _json_of(text: str) -> Any:
    """Raises ValueError, also for NaN and Infinity, which JSON does not have."""

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not a number of JSON")

    return json.loads(text, parse_constant=refuse)


def read_tasks(file: Path) -> list[Any]:
    """A JSON list or JSON lines; - for standard input. Raises Failed."""
    text = sys.stdin.read() if str(file) == "-" else _read(file)
    try:
        if text.lstrip().startswith("["):
            found: list[Any] = _json_of(text)
            return found
        return [_json_of(line) for line in text.split("\n") if line.strip()]
    except ValueError as error:
        raise Failed(f"{file} holds neither a JSON list nor JSON lines: {error}", ExitCode.USAGE) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise cannot_read(path, error) from error
