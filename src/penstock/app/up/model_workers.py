"""What `up --model` tells while its workers fetch and load: the news of their logs, and why one of them cannot start."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

_PHRASES = {"fetching": "fetching", "model_loading": "loading the model", "model_loaded": "the model is loaded"}
"""Log event -> what people read."""


class WorkerLogProgress:
    """Follows the log file of one worker from where it ends now."""

    def __init__(self, name: str, log_file: Path) -> None:
        self._name = name
        self._file = log_file
        self._read_bytes = log_file.stat().st_size if log_file.exists() else 0
        self._last_output = ""

    def tell(self, say: Callable[[str], None]) -> None:
        """Say what is new of the model's way into memory."""
        for line in self._new_lines():
            try:
                entry = json.loads(line)
            except ValueError:
                self._last_output = line
                continue
            if isinstance(entry, dict) and entry.get("event") in _PHRASES:
                say(f"penstock: {self._name}: {_sentence(entry)}")

    @property
    def last_output(self) -> str:
        """The last line that is not an entry of the log: what the worker said before it ended."""
        return self._last_output.removeprefix("penstock: ")

    def _new_lines(self) -> Sequence[str]:
        if not self._file.exists():
            return ()
        with self._file.open("rb") as file:
            file.seek(self._read_bytes)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read_bytes += len(whole) + len(newline)
        return [line for line in whole.decode("utf-8", "replace").splitlines() if line.strip()]


def _sentence(entry: dict[str, object]) -> str:
    about = {name: entry[name] for name in ("percent", "gibibytes", "device", "dtype", "seconds") if name in entry}
    facts = ", ".join(f"{value} %" if name == "percent" else f"{name} {value}" for name, value in about.items())
    return f"{_PHRASES[str(entry['event'])]} {entry.get('model', '')} ({facts})"
