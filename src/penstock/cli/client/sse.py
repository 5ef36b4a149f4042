"""Server-sent events, as far as OpenAI's streams use them."""

from penstock.cli.exits import Failed

MAX_EVENT_BYTES = 1024 * 1024
DONE = "[DONE]"


class EventParser:
    """Bytes in as they arrive, the data of each whole event out; comments and other fields are skipped."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> list[str]:
        """The events that this piece completes. Raises Failed when one grows past MAX_EVENT_BYTES."""
        # Split as bytes: text splitting would also break at the Unicode separators that JSON may hold.
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            raise Failed("the answer holds an event that is too large")
        return [event for line in lines if (event := self._line(line.rstrip(b"\r"))) is not None]

    def _line(self, line: bytes) -> str | None:
        if line:
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" ").decode("utf-8", errors="replace"))
            return None
        event, self._data = "\n".join(self._data), []
        return event or None
