"""The items of stored responses, read within a bound, and beside the event loop when there is much to read."""

import asyncio
from collections.abc import Sequence

import msgspec

from penstock.domain.durable.responses import StoredResponse, conversation_too_large
from penstock.wire.responses.items import Json

_READ_AT_ONCE_BYTES = 1 << 18


class _StoredAnswer(msgspec.Struct):
    """Of a Response object what a conversation needs: instructions and tools are not decoded."""

    output: msgspec.Raw


def stored_size(stored: StoredResponse) -> int:
    """About the bytes of its texts."""
    return len(stored.items) + len(stored.document)


async def items_of(links: Sequence[StoredResponse], max_bytes: int) -> list[Json]:
    """What each was asked with and what it answered, in their order. Raises TooLarge when that has more than `max_bytes`."""
    if sum(stored_size(link) for link in links) <= _READ_AT_ONCE_BYTES:
        return _read(links, max_bytes)
    return await asyncio.to_thread(_read, links, max_bytes)


def _read(links: Sequence[StoredResponse], max_bytes: int) -> list[Json]:
    texts: list[bytes] = []
    for link in links:
        texts += (link.items.encode(), bytes(msgspec.json.decode(link.document, type=_StoredAnswer).output))
    if sum(map(len, texts)) > max_bytes:
        raise conversation_too_large(max_bytes)
    found: list[Json] = []
    for text in texts:
        found += msgspec.json.decode(text)
    return found
