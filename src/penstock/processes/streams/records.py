"""From a record to a task: what is asked of every task of a stream, and which records can never be one. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.domain.durable.streams import StreamRecord
from penstock.durable.tasks.limits import PAYLOAD_BYTES

_LONGEST_KEY = 200
_OURS = ("idempotency_key", "ref", "tasks")


class InvalidRecord(Exception):
    """The record can never become a task."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class TaskTemplate:
    """What the tasks of a stream have in common."""

    stream: str
    fields: Mapping[str, Any]
    """As in `POST /api/tasks`, without payload, idempotency key and the stream's own tag."""
    whole: bool = False
    """A record is a task with all its fields, and `fields` is what it does not say; otherwise it is the payload."""

    @property
    def tag(self) -> str:
        """Every task of the stream has it."""
        return f"stream:{self.stream}"

    def task(self, record: StreamRecord) -> msgspec.Raw:
        """The JSON of one task. Raises InvalidRecord."""
        value = _value(record)
        key = {"idempotency_key": self.key(record)}
        if not self.whole:
            task = {**self.fields, "payload": msgspec.Raw(_small(record.value or b"", value)), **key}
            return msgspec.Raw(msgspec.json.encode({**task, "tags": self._tags(())}))
        if not isinstance(value, dict):
            raise InvalidRecord("no_task", "The record is not a JSON object, so it is not a task.")
        for name in _OURS:
            if name in value:
                raise InvalidRecord("no_task", f"A task in a record has no {name!r}: its place in the stream is its key.")
        tags = value.get("tags", ())
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            tags = [] if tags == () else [tags]  # the gateway says what is wrong with it
        text = msgspec.json.encode({**self.fields, **value, **key, "tags": self._tags(tags)})
        if len(text) > 2 * PAYLOAD_BYTES:
            raise InvalidRecord("payload_too_large", f"The task has {len(text)} bytes.")
        return msgspec.Raw(text)

    def key(self, record: StreamRecord) -> str:
        """The same for each delivery of a record; another stream of ours has another one."""
        key = f"{self.tag}:{record.position}"
        return key if len(key) <= _LONGEST_KEY else f"{self.tag}:{hashlib.sha256(record.position.encode()).hexdigest()}"

    def _tags(self, more: Any) -> list[Any]:
        return list(dict.fromkeys([self.tag, *self.fields.get("tags", ())])) + [tag for tag in more if tag != self.tag]


def _value(record: StreamRecord) -> Any:
    if record.value is None:
        raise InvalidRecord("no_value", "The record has no value.")
    try:
        return msgspec.json.decode(record.value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRecord("invalid_json", f"The record is not JSON: {error}") from error


def _small(text: bytes, value: Any) -> bytes:
    """The payload's JSON, without its blanks where they make it too large. Raises InvalidRecord."""
    if len(text) > PAYLOAD_BYTES:
        text = msgspec.json.encode(value)
    if len(text) > PAYLOAD_BYTES:
        raise InvalidRecord("payload_too_large", f"A payload has at most {PAYLOAD_BYTES} bytes of JSON, this record has {len(text)}.")
    return text
