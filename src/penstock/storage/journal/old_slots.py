"""Slots as Penstock wrote them before they had checksums: read once, at the first start after an upgrade."""

import struct

import msgspec
from msgspec.structs import replace

from penstock.domain.usage import UsageRecord

SLOT_BYTES = 1024
_NUMBERS = struct.Struct("<IIIIB")
_LENGTH = struct.Struct("<H")
_TEXT_AT = 24
_LENGTH_AT = 22
_ACTIVE = 1
_decoder = msgspec.json.Decoder(UsageRecord)


def slots_of_version_one(content: bytes) -> tuple[list[UsageRecord], int]:
    """The streams in flight, and how many slots could not be read."""
    records, lost = [], 0
    for start in range(0, len(content) - SLOT_BYTES + 1, SLOT_BYTES):
        slot = content[start : start + SLOT_BYTES]
        if slot[0] != _ACTIVE:
            continue
        (length,) = _LENGTH.unpack_from(slot, _LENGTH_AT)
        prompt, completion, cached, reasoning, estimated = _NUMBERS.unpack_from(slot, 1)
        try:
            record = _decoder.decode(slot[_TEXT_AT : _TEXT_AT + length])
        except (msgspec.DecodeError, UnicodeDecodeError):
            lost += 1
            continue
        records.append(
            replace(
                record,
                prompt_tokens=prompt,
                completion_tokens=completion,
                cached_tokens=cached,
                reasoning_tokens=reasoning,
                estimated=bool(estimated),
            )
        )
    return records, lost
