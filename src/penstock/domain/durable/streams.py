"""What comes from a broker and goes to one: a record of a topic (Kafka) or subject (NATS), and a message for one."""

from dataclasses import dataclass, field
from typing import Any

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """What a source hands out."""

    position: str
    """Names the record for good: the same whenever it is delivered again, and no other record's. Printable, without spaces."""
    value: bytes | None
    """None: a record without a value, as Kafka has them."""
    headers: Headers = ()
    handle: Any = field(default=None, compare=False, repr=False)
    """The broker's own; no other code looks into it."""

    @property
    def size_bytes(self) -> int:
        return len(self.value or b"")


@dataclass(frozen=True, slots=True)
class StreamMessage:
    """What a sink takes."""

    id: str
    """The same whenever it is published again, so that a reader can drop repetitions."""
    key: str
    """Messages of one key stay in their order, where the broker knows such a thing."""
    value: bytes
    headers: Headers = ()
