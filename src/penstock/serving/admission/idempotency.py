"""`Idempotency-Key`: a repeated request gets the answer of the first one, instead of a second one.

- Known for a key and a name until `ttl_seconds` after the answer; the oldest unused answers go first when `max_bytes` are full.
- Only successful (2xx) whole answers are kept, and none above 1 MiB: a repetition of anything else is done anew. A stream is not
  kept either; its owner abandons the ticket when it ends.
- While the first request runs, a repetition gets 409 and may try again; another body under the same name gets 409 for good.

Kept in this process: a repetition that reaches another gateway is done anew.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from penstock.domain.errors import BadRequest, IdempotencyConflict

LARGEST_ANSWER_BYTES = 1024 * 1024
LONGEST_NAME = 255
_OVERHEAD_BYTES = 600  # what an entry costs besides its answer
_REPLAYED = b"idempotent-replayed: true\r\n"


@dataclass(frozen=True, slots=True)
class Replay:
    """The stored answer, ready to be sent; `headers` are lines with their CRLF and say that it is a replay."""

    status: int
    headers: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class _Finished:
    org_id: str
    fingerprint: bytes
    replay: Replay
    expires_at: float

    @property
    def size(self) -> int:
        return _OVERHEAD_BYTES + len(self.replay.headers) + len(self.replay.body)


class Ticket:
    """The right to answer first. Exactly one of `finish` and `abandon` ends it; what comes after that does nothing."""

    __slots__ = ("_answers", "_fingerprint", "_org_id", "_slot")

    def __init__(self, answers: "IdempotentAnswers", org_id: str, slot: tuple[str, str], fingerprint: bytes) -> None:
        self._answers: IdempotentAnswers | None = answers
        self._org_id = org_id
        self._slot = slot
        self._fingerprint = fingerprint

    def finish(self, status: int, headers: bytes, body: bytes, now: float) -> None:
        """The answer was sent whole. `headers`: the lines that belong to the answer itself; those of one exchange (request id,
        rate limits) are written anew for a replay."""
        answers, self._answers = self._answers, None
        if answers is not None:
            answers.finished(self._org_id, self._slot, self._fingerprint, Replay(status, headers + _REPLAYED, body), now)

    def abandon(self) -> None:
        """There is no answer to keep: the next request of this name is the first one again."""
        answers, self._answers = self._answers, None
        if answers is not None:
            answers.abandoned(self._slot)


class IdempotentAnswers:
    """The answers of one gateway, by API key and Idempotency-Key.

    When they are more than there is memory for, the organisation with the most loses its oldest: none can push out another's.
    """

    def __init__(self, ttl_seconds: float = 86_400.0, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._ttl_seconds = ttl_seconds
        self._max_bytes = max_bytes
        self._running: dict[tuple[str, str], bytes] = {}
        self._finished: dict[tuple[str, str], _Finished] = {}
        self._oldest: dict[str, OrderedDict[tuple[str, str], None]] = {}
        """The slots of each organisation, the least recently used first."""
        self._bytes_of: dict[str, int] = {}
        self._bytes = 0

    @property
    def stored_bytes(self) -> int:
        return self._bytes

    def __len__(self) -> int:
        return len(self._running) + len(self._finished)

    def begin(self, key_id: str, name: str, path: str, body: bytes, now: float, org_id: str = "") -> Replay | Ticket:
        """A replay of the first answer, or a ticket for who is first. `name` is the Idempotency-Key, `now` monotonic.

        Raises IdempotencyConflict (still running: try again in a second; another path or body: never), BadRequest for an
        unusable name.
        """
        if not 0 < len(name) <= LONGEST_NAME or not name.isascii() or not name.isprintable():
            raise BadRequest(f"Idempotency-Key must be 1 to {LONGEST_NAME} printable ASCII characters.", param="Idempotency-Key")
        slot = (key_id, name)
        fingerprint = hashlib.blake2b(path.encode() + b"\0" + body, digest_size=16).digest()
        running = self._running.get(slot)
        if running is not None:
            _same(running, fingerprint)
            raise IdempotencyConflict("A request with this Idempotency-Key is still running.", retry_after_seconds=1.0, retry=True)
        finished = self._live(slot, now)
        if finished is not None:
            _same(finished.fingerprint, fingerprint)
            self._oldest[finished.org_id].move_to_end(slot)
            return finished.replay
        self._running[slot] = fingerprint
        return Ticket(self, org_id, slot, fingerprint)

    def finished(self, org_id: str, slot: tuple[str, str], fingerprint: bytes, replay: Replay, now: float) -> None:
        """A ticket's answer."""
        self._running.pop(slot, None)
        entry = _Finished(org_id, fingerprint, replay, now + self._ttl_seconds)
        if not 200 <= replay.status < 300 or len(replay.body) > LARGEST_ANSWER_BYTES or entry.size > self._max_bytes:
            return
        self._finished[slot] = entry
        self._oldest.setdefault(org_id, OrderedDict())[slot] = None
        self._bytes_of[org_id] = self._bytes_of.get(org_id, 0) + entry.size
        self._bytes += entry.size
        self._forget_expired(org_id, now)
        while self._bytes > self._max_bytes:
            largest = max(self._bytes_of, key=self._bytes_of.__getitem__)
            self._forget(next(iter(self._oldest[largest])))

    def abandoned(self, slot: tuple[str, str]) -> None:
        self._running.pop(slot, None)

    def _live(self, slot: tuple[str, str], now: float) -> _Finished | None:
        finished = self._finished.get(slot)
        if finished is not None and finished.expires_at <= now:
            self._forget(slot)
            return None
        return finished

    def _forget_expired(self, org_id: str, now: float) -> None:
        while (slots := self._oldest.get(org_id)) and self._finished[slot := next(iter(slots))].expires_at <= now:
            self._forget(slot)

    def _forget(self, slot: tuple[str, str]) -> None:
        gone = self._finished.pop(slot)
        self._bytes -= gone.size
        self._bytes_of[gone.org_id] -= gone.size
        slots = self._oldest[gone.org_id]
        del slots[slot]
        if not slots:
            del self._oldest[gone.org_id], self._bytes_of[gone.org_id]


def _same(first: bytes, second: bytes) -> None:
    if first != second:
        raise IdempotencyConflict("This Idempotency-Key was used with another request.", param="Idempotency-Key", retry=False)
