"""What a function prints during one attempt, bounded: the beginning and the end are kept."""

from penstock.domain.text import storable


class AttemptLog:
    """Bytes in, text out. `limit_bytes` 0: nothing is kept."""

    def __init__(self, limit_bytes: int) -> None:
        self._head_bytes = limit_bytes // 2
        self._tail_bytes = limit_bytes - self._head_bytes
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0
        self._is_new = False

    def take_new(self) -> bool:
        """Whether there is more than at the last call."""
        was, self._is_new = self._is_new, False
        return was

    def add(self, data: bytes) -> None:
        self._is_new = True
        room = self._head_bytes - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        excess = len(self._tail) - self._tail_bytes
        if excess > 0:
            self._left_out += excess
            del self._tail[:excess]

    @property
    def left_out_bytes(self) -> int:
        return self._left_out if self._tail_bytes else 0

    @property
    def text(self) -> str:
        if not self.left_out_bytes:
            return storable((self._head + self._tail).decode("utf-8", "replace"))
        head, tail = self._head.decode("utf-8", "ignore"), self._tail.decode("utf-8", "ignore")
        return storable(f"{head}\n... {self._left_out} bytes left out ...\n{tail}")
