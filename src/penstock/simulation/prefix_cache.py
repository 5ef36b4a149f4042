"""What a GPU keeps of prompts that it has read: the beginnings that were used last."""

from collections import OrderedDict
from collections.abc import Hashable

BLOCK_TOKENS = 64
"""Engines share whole blocks only."""


class PrefixCache:
    """By name of a beginning the tokens of it that are kept, as many in all as fit."""

    def __init__(self, capacity_tokens: int) -> None:
        self._capacity = capacity_tokens
        self._held: OrderedDict[Hashable, int] = OrderedDict()
        self._tokens = 0

    def __len__(self) -> int:
        return len(self._held)

    def read(self, prefix: Hashable, tokens: int) -> int:
        """A prompt that begins with so many tokens of `prefix` is read: how many of them need not be; they are kept from now on."""
        tokens -= tokens % BLOCK_TOKENS
        held = self._held.pop(prefix, 0)
        keep = max(held, tokens)
        if not 0 < keep <= self._capacity:
            self._tokens -= held
            return min(held, tokens)
        self._held[prefix] = keep
        self._tokens += keep - held
        while self._tokens > self._capacity:
            self._tokens -= self._held.popitem(last=False)[1]
        return min(held, tokens)
