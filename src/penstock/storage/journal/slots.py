"""A slot for each stream in flight, in memory-mapped files: updated as tokens pass, without a system call."""

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from penstock.domain.usage import UsageRecord

SLOT_BYTES = 1024
_NUMBERS = struct.Struct("<IIIIB")
"""prompt, completion, cached and reasoning tokens; 1 when they are estimated."""
_LENGTH = struct.Struct("<H")
_TEXT_AT = 24
_LENGTH_AT = 22
_FREE, _ACTIVE = 0, 1
_decoder = msgspec.json.Decoder(UsageRecord)


class Slot:
    """One stream's place. Free again after `clear`."""

    __slots__ = ("_map", "_offset", "_pool")

    def __init__(self, pool: "StreamSlots", memory: mmap.mmap, offset: int) -> None:
        self._pool = pool
        self._map = memory
        self._offset = offset

    def fill(self, record: UsageRecord) -> None:
        """Note whose stream it is; the state byte goes last, so that a slot is never half a record."""
        text = msgspec.json.encode(record)
        if len(text) > SLOT_BYTES - _TEXT_AT:
            # Only the client's own request id and the model's name are of the client's making, and so of any length.
            text = msgspec.json.encode(replace(record, client_request_id="", model=record.model[:256]))
        start = self._offset
        _LENGTH.pack_into(self._map, start + _LENGTH_AT, len(text))
        self._map[start + _TEXT_AT : start + _TEXT_AT + len(text)] = text
        self.update(record.prompt_tokens, record.completion_tokens, record.cached_tokens, record.reasoning_tokens, record.estimated)
        self._map[start] = _ACTIVE

    def update(self, prompt: int, completion: int, cached: int = 0, reasoning: int = 0, estimated: bool = False) -> None:
        """Before the bytes that carry these tokens leave."""
        _NUMBERS.pack_into(self._map, self._offset + 1, prompt, completion, cached, reasoning, estimated)

    def clear(self) -> None:
        """After the record of the finished stream was appended."""
        self._map[self._offset] = _FREE
        self._pool.release(self)


class StreamSlots:
    """All slots of one process; another file is added when they run out."""

    def __init__(self, per_file: int) -> None:
        self._directory: Path | None = None  # until it is open
        self._per_file = per_file
        self._maps: list[mmap.mmap] = []
        self._free: list[Slot] = []

    def open(self, directory: Path) -> None:
        """Keep the files there from now on. Begin with all slots free, also those of files that the last owner had added."""
        self._directory = directory
        self._grow()
        for path in _files(directory)[1:]:
            path.unlink()

    def take(self) -> Slot:
        """A free slot. Raises OSError when the disk has no room for more of them."""
        if not self._free:
            self._grow()
        return self._free.pop()

    def release(self, slot: Slot) -> None:
        self._free.append(slot)

    def close(self) -> None:
        self._free.clear()
        for memory in self._maps:
            memory.close()
        self._maps.clear()

    def _grow(self) -> None:
        assert self._directory is not None, "the journal is not open"
        path = self._directory / f"slots-{len(self._maps):03d}.mmap"
        size = self._per_file * SLOT_BYTES
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            # Allocated now: a page that cannot be had later would kill the process by SIGBUS.
            os.posix_fallocate(descriptor, 0, size)
            memory = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self._maps.append(memory)
        self._free.extend(Slot(self, memory, index * SLOT_BYTES) for index in reversed(range(self._per_file)))


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob("slots-*.mmap"))


def left_behind(directory: Path) -> Iterator[UsageRecord]:
    """The streams that a process which is no more had in flight, with the tokens that it had delivered."""
    for path in _files(directory):
        data = path.read_bytes()
        for start in range(0, len(data) - SLOT_BYTES + 1, SLOT_BYTES):
            if data[start] == _ACTIVE and (record := _read(data, start)) is not None:
                yield record


def _read(data: bytes, start: int) -> UsageRecord | None:
    (length,) = _LENGTH.unpack_from(data, start + _LENGTH_AT)
    try:
        record = _decoder.decode(data[start + _TEXT_AT : start + _TEXT_AT + length])
    except msgspec.DecodeError:
        return None
    prompt, completion, cached, reasoning, estimated = _NUMBERS.unpack_from(data, start + 1)
    return replace(
        record,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=cached,
        reasoning_tokens=reasoning,
        estimated=bool(estimated),
    )
