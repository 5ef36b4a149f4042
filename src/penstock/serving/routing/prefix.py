"""Prompts that begin alike: a chain of hashes over blocks of the prompt, and who has seen which block.

Engines keep the key-value cache of prefixes that they have computed. What is remembered here is what this gateway sent where: an estimate
of those caches, not a report from them.
"""

from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType

BLOCK_TOKENS = 64
BLOCK_BYTES = BLOCK_TOKENS * 4
"""By the rule of thumb that also reserves tokens: four bytes a token."""
MOST_BLOCKS = 128
"""Longer prompts are told apart by their first 8,192 tokens alone: the decision must stay cheap."""

Prefix = tuple[int, ...]
"""The hash of each whole block, each of them also over everything before it. Empty: shorter than a block, or not asked for."""
NO_PREFIX: Prefix = ()
NOTHING_CACHED: Mapping[str, int] = MappingProxyType({})


def chain(prompt: bytes, seed: bytes) -> Prefix:
    """`prompt` as the model's template would lay it out; `seed` tells tenants and adapters apart, which share no cache."""
    # The interpreter's own keyed hash: ten times as fast as a digest, and no other process needs to know it.
    links: list[int] = []
    link = hash(seed)
    for start in range(0, min(len(prompt), MOST_BLOCKS * BLOCK_BYTES) - BLOCK_BYTES + 1, BLOCK_BYTES):
        link = hash((link, prompt[start : start + BLOCK_BYTES]))
        links.append(link)
    return tuple(links)


class PrefixTable:
    """Which blocks were sent to which workers, the most recently used ones; some 200 bytes for each."""

    __slots__ = ("_blocks", "_capacity")

    def __init__(self, capacity_blocks: int = 65_536) -> None:
        self._capacity = capacity_blocks
        self._blocks: OrderedDict[int, tuple[str, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def cached(self, prefix: Prefix) -> Mapping[str, int]:
        """By worker, how many tokens from the start of this prompt it has probably kept; workers with none are left out."""
        tokens: dict[str, int] = {}
        holding: tuple[str, ...] | None = None
        for number, block in enumerate(prefix, 1):
            holders = self._blocks.get(block)
            if holders is None:
                break
            if holding is None or holders == holding:
                holding = holders
            else:
                holding = tuple([worker_id for worker_id in holding if worker_id in holders])
                if not holding:
                    break
            for worker_id in holding:
                tokens[worker_id] = number * BLOCK_TOKENS
        return tokens

    def learn(self, prefix: Prefix, worker_id: str) -> None:
        """The prompt went to this worker."""
        blocks = self._blocks
        # From the end: of two blocks that were used together the one nearer to the start is worth more, and goes last.
        for block in reversed(prefix):
            holders = blocks.get(block, ())
            blocks[block] = holders if worker_id in holders else (*holders, worker_id)
            blocks.move_to_end(block)
        while len(blocks) > self._capacity:
            blocks.popitem(last=False)

    def forget(self, worker_id: str) -> None:
        """Its process is new, or gone: what it had kept is lost."""
        for block, holders in list(self._blocks.items()):
            if holders == (worker_id,):
                del self._blocks[block]
            elif worker_id in holders:
                self._blocks[block] = tuple([holder for holder in holders if holder != worker_id])
