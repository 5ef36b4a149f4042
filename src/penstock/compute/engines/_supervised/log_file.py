"""What a supervised server says: on disk, in two files at most, with its last lines at hand."""

from pathlib import Path

LARGEST_BYTES = 8 * 1024 * 1024
_TAIL_BYTES = 256 * 1024


class LogFile:
    """Grows to `LARGEST_BYTES`, then begins anew beside the one before (`.1`)."""

    def __init__(self, path: Path, largest_bytes: int = LARGEST_BYTES) -> None:
        self._path = path
        self._largest_bytes = largest_bytes

    def write(self, data: bytes) -> None:
        """Raises OSError."""
        with self._path.open("ab") as file:
            file.write(data)
            size = file.tell()
        if size >= self._largest_bytes:
            self._path.replace(self._before)

    def note(self, text: str) -> None:
        """A line of our own among the server's."""
        self.write(f"penstock: {text}\n".encode())

    def tail(self, lines: int) -> list[str]:
        """The last lines, oldest first."""
        found = self._read(self._path)
        if len(found) < lines:
            found = self._read(self._before) + found
        return found[-lines:] if lines else []

    @property
    def _before(self) -> Path:
        return self._path.with_name(f"{self._path.name}.1")

    def _read(self, path: Path) -> list[str]:
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - _TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return []
        lines = text.splitlines()
        return lines[1:] if size > _TAIL_BYTES else lines
