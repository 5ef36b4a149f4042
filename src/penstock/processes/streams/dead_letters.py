"""Records that can never become a task go to a topic of their own, as they came, with the reason as headers."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from penstock.domain.durable.streams import StreamMessage, StreamRecord
from penstock.domain.ports import StreamSink
from penstock.processes.streams.retrier import Retrier

log = structlog.get_logger("penstock.streams")
_LONGEST_REASON = 500
_MOST_HEADERS = 50


class NoDeadLetters(Exception):
    """There is a record that can never become a task, and nowhere to put it."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    record: StreamRecord
    code: str
    reason: str


class DeadLetters:
    """`sink` None: the first such record stops the stream, and stays where it is."""

    def __init__(self, sink: StreamSink | None, retrier: Retrier) -> None:
        self._sink = sink
        self._retrier = retrier
        self.sent = 0

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        """The broker has them when this returns. Raises NoDeadLetters."""
        for letter in letters:
            log.warning("record_refused", position=letter.record.position, code=letter.code, reason=letter.reason)
        sink = self._sink
        if not letters:
            return
        if sink is None:
            first = letters[0]
            raise NoDeadLetters(
                f"the record {first.record.position} can never become a task ({first.code}: {first.reason}), no dead letter topic is set"
            )
        messages = [_message(letter, letter.record.value or b"") for letter in letters]
        outcomes = await self._retrier.call("dead letters", lambda: sink.publish(messages), sink.open)
        unwanted = [letter for letter, outcome in zip(letters, outcomes, strict=True) if outcome is not None]
        if unwanted:
            await self._send_without_value(sink, unwanted)
        self.sent += len(letters)

    async def _send_without_value(self, sink: StreamSink, letters: Sequence[DeadLetter]) -> None:
        """Too large with their headers: the position says where the whole of it is."""
        messages = [_message(letter, b"", ("penstock-value-left-out", str(letter.record.size_bytes))) for letter in letters]
        await self._retrier.call("dead letters", lambda: sink.publish(messages), sink.open)


def _message(letter: DeadLetter, value: bytes, *more: tuple[str, str]) -> StreamMessage:
    own = (
        ("penstock-source", letter.record.position),
        ("penstock-code", letter.code),
        ("penstock-reason", _one_line(letter.reason)),
        *more,
    )
    names = {name for name, _ in own}
    # Not those by which a broker or we would take it for another message.
    kept = [
        (name, _one_line(text))
        for name, text in letter.record.headers[:_MOST_HEADERS]
        if name.lower() not in names and not name.lower().startswith(("nats-", "penstock-"))
    ]
    return StreamMessage(f"dead:{letter.record.position}", letter.record.position, value, (*kept, *own))


def _one_line(text: str) -> str:
    """As a header may be on every broker."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)[:_LONGEST_REASON]
