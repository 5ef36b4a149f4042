"""A sample of the gateway's decisions goes to the store, and leaves it again in time."""

import random
from collections.abc import Callable

from penstock.app.gateway.chores import Chore, Chores
from penstock.app.settings import Settings
from penstock.domain.ports import DecisionStore
from penstock.serving.explain.ring import DecisionRing
from penstock.serving.explain.sample import DecisionSample
from penstock.serving.explain.words import explanation

_KEEP_EVERY_SECONDS = 1.0
_FORGET_EVERY_SECONDS = 600.0


def start(settings: Settings, ring: DecisionRing, store: DecisionStore, time: Callable[[], float], chores: Chores) -> None:
    """Move a sample of decisions to the store every second or so, and forget old ones."""
    explain = settings.explain
    if explain.most_per_second == 0:
        return
    sample = DecisionSample(ring, explain.sample_share, explain.most_per_second, random.random)

    async def keep() -> None:
        await store.save([explanation(decision) for decision in sample.take()])

    async def forget() -> None:
        before = time() - explain.keep_seconds
        while await store.forget(before):
            pass

    chores.start(Chore("keep decisions", _KEEP_EVERY_SECONDS, keep))
    chores.start(Chore("forget decisions", _FORGET_EVERY_SECONDS, forget))
