"""A slot for each stream in flight, in memory-mapped files: updated as tokens pass, without a system call.

A file begins with a block that tells how many slots it has, so that a file that lost its end is noticed. Each slot holds its record with
a checksum, and its numbers twice: an update writes the older copy, so that a process that dies in the middle of one leaves the other.
"""

import mmap
import os
import struct
from pathlib import Path
from zlib import crc32

import msgspec
from msgspec.structs import replace

from penstock.domain.usage import UsageRecord
from penstock.storage.journal.old_slots import slots_of_version_one

SLOT_BYTES = 1024
_SUFFIX = ".slots"
_MAGIC = b"PENSLOT2"
_HEADER = struct.Struct("<8sII")
"""Magic, number of slots, checksum of both."""
_TEXT = struct.Struct("<HI")
"""Length and checksum of the record's text."""
_NUMBERS = struct.Struct("<Iqqqq?")
"""Sequence; prompt, completion, cached and reasoning tokens; whether they are estimated. A checksum follows."""
_CHECKSUM = struct.Struct("<I")
_COPY_BYTES = _NUMBERS.size + _CHECKSUM.size
_TEXT_HEAD_AT = 2
_COPIES_AT = (16, 72)
_TEXT_AT = 128
_MOST_TEXT = SLOT_BYTES - _TEXT_AT
_FREE, _ACTIVE = 0x00, 0xA5
"""Far apart: one wrong bit does not make one of the other."""
_SAFE_MODEL_CHARACTERS = 64
_pack = _NUMBERS.pack
_pack_checksum = _CHECKSUM.pack
_decoder = msgspec.json.Decoder(UsageRecord)


class Slot:
    """One stream's place. Free again after `clear`."""

    __slots__ = ("_copies", "_map", "_offset", "_pool", "_sequence")

    def __init__(self, pool: "StreamSlots", memory: mmap.mmap, offset: int) -> None:
        self._pool = pool
        self._map = memory
        self._offset = offset
        self._copies = tuple(slice(offset + at, offset + at + _COPY_BYTES) for at in _COPIES_AT)
        self._sequence = 0

    def fill(self, record: UsageRecord) -> None:
        """Note whose stream it is; the state byte goes last, so that a slot is never half a record."""
        text = msgspec.json.encode(record)
        if len(text) > _MOST_TEXT:
            # Only the client's own request id and the model's name are of the client's making, and so of any length.
            text = msgspec.json.encode(replace(record, client_request_id="", model=record.model[:_SAFE_MODEL_CHARACTERS]))
        start = self._offset
        _TEXT.pack_into(self._map, start + _TEXT_HEAD_AT, len(text), crc32(text))
        self._map[start + _TEXT_AT : start + _TEXT_AT + len(text)] = text
        # Twice: a copy that the last stream left must not be taken for this one's.
        self.update(record.prompt_tokens, record.completion_tokens, record.cached_tokens, record.reasoning_tokens, record.estimated)
        self.update(record.prompt_tokens, record.completion_tokens, record.cached_tokens, record.reasoning_tokens, record.estimated)
        self._map[start] = _ACTIVE

    def update(self, prompt: int, completion: int, cached: int = 0, reasoning: int = 0, estimated: bool = False) -> None:
        """Before the bytes that carry these tokens leave."""
        self._sequence = sequence = self._sequence + 1
        numbers = _pack(sequence, prompt, completion, cached, reasoning, estimated)
        self._map[self._copies[sequence & 1]] = numbers + _pack_checksum(crc32(numbers))

    def clear(self) -> None:
        """After the record of the finished stream was appended."""
        self._map[self._offset] = _FREE
        self._sequence = 0
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
        left = files(directory)
        self._grow()
        for path in left:
            if path != self._path(0):
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

    def _path(self, number: int) -> Path:
        assert self._directory is not None, "the journal is not open"
        return self._directory / f"slots-{number:03d}{_SUFFIX}"

    def _grow(self) -> None:
        path = self._path(len(self._maps))
        size = (1 + self._per_file) * SLOT_BYTES
        # Under another name until it is whole: a file with too few bytes is one that lost some.
        fresh = path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            # Allocated now: a page that cannot be had later would kill the process by SIGBUS.
            os.posix_fallocate(descriptor, 0, size)
            memory = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        memory[: _HEADER.size] = _header(self._per_file)
        fresh.rename(path)
        self._maps.append(memory)
        self._free.extend(Slot(self, memory, (1 + index) * SLOT_BYTES) for index in reversed(range(self._per_file)))


def _header(slots: int) -> bytes:
    return _HEADER.pack(_MAGIC, slots, crc32(_MAGIC + slots.to_bytes(4, "little")))


def files(directory: Path) -> list[Path]:
    """Of this version and of the one before."""
    return sorted([*directory.glob(f"slots-*{_SUFFIX}"), *directory.glob("slots-*.mmap")])


def left_behind(path: Path, content: bytes) -> tuple[list[UsageRecord], int, str]:
    """The streams that a process which is no more had in flight, with the tokens that it had delivered; how many are lost, and why."""
    if path.suffix != _SUFFIX:
        found, lost = slots_of_version_one(content)
        return found, lost, "a slot is damaged" if lost else ""
    reason, lost = "", 0
    magic, slots, checksum = _HEADER.unpack_from(content.ljust(_HEADER.size, b"\0"))
    if magic != _MAGIC or checksum != crc32(_MAGIC + slots.to_bytes(4, "little")):
        reason = "its head is damaged"
    elif len(content) != (1 + slots) * SLOT_BYTES:
        reason = f"it has {len(content)} bytes and should have {(1 + slots) * SLOT_BYTES}"
    records = []
    for start in range(SLOT_BYTES, len(content), SLOT_BYTES):
        slot = content[start : start + SLOT_BYTES].ljust(SLOT_BYTES, b"\0")
        if not _is_active(slot[0]):
            continue
        record = _read(slot)
        if record is None:
            reason, lost = reason or "a slot is damaged", lost + 1
        else:
            records.append(record)
    return records, lost, reason


def _is_active(state: int) -> bool:
    """The nearer of the two, should a bit be wrong."""
    return (state ^ _ACTIVE).bit_count() < (state ^ _FREE).bit_count()


def _read(slot: bytes) -> UsageRecord | None:
    length, checksum = _TEXT.unpack_from(slot, _TEXT_HEAD_AT)
    text = slot[_TEXT_AT : _TEXT_AT + length]
    numbers = [_NUMBERS.unpack(copy) for at in _COPIES_AT if (copy := _checked(slot[at : at + _COPY_BYTES])) is not None]
    if len(text) != length or crc32(text) != checksum or not numbers:
        return None
    try:
        record = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    _, prompt, completion, cached, reasoning, estimated = max(numbers)
    return replace(
        record,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=cached,
        reasoning_tokens=reasoning,
        estimated=estimated,
    )


def _checked(copy: bytes) -> bytes | None:
    numbers = copy[: _NUMBERS.size]
    return numbers if _pack_checksum(crc32(numbers)) == copy[_NUMBERS.size :] else None
