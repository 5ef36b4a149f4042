"""What the policies are compared with: the same ones, seen through old numbers; and a look at what they choose."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from penstock.serving.routing.choice import PolicyChoice
from penstock.serving.routing.member import Member
from penstock.serving.routing.policies import BalancingPolicy
from penstock.serving.routing.prefix import NOTHING_CACHED
from penstock.simulation.rehearsal.agenda import Agenda
from penstock.simulation.rehearsal.world import World


class Stale:
    """A policy that sees each worker as it was when its load was last reported."""

    wants_prefix: ClassVar[bool] = False
    measure: ClassVar[str] = "old loads"

    def __init__(self, policy: BalancingPolicy, agenda: Agenda, seconds: float) -> None:
        self._policy = policy
        self._now = agenda.monotonic
        self._seconds = seconds
        self._taken_at = float("-inf")
        self._old: dict[str, Member] = {}

    def choose(self, candidates: Sequence[Member], excluded: frozenset[str], cached: Mapping[str, int] = NOTHING_CACHED) -> Member | None:
        now = self._now()
        if now - self._taken_at >= self._seconds or any(member.id not in self._old for member in candidates):
            self._taken_at = now
            self._old = {member.id: _as_it_is(member, now) for member in candidates}
        chosen = self._policy.choose([self._old[member.id] for member in candidates], excluded, cached)
        real = None if chosen is None else next(member for member in candidates if member.id == chosen.id)
        if real is None or real.free:
            return real
        # It has filled up since: one that has room, as after a worker's refusal.
        return min((member for member in candidates if member.free), key=lambda member: member.in_flight, default=None)


def _as_it_is(member: Member, now: float) -> Member:
    old = Member(member.record, now)
    old.limit, old.in_flight, old.outstanding_tokens = member.limit, member.in_flight, member.outstanding_tokens
    return old


class Watched:
    """A policy whose choices are looked at: `see(chosen, candidates)`, before the request is counted."""

    wants_prefix: ClassVar[bool] = True
    measure: ClassVar[str] = "as the policy's own"

    def __init__(self, policy: BalancingPolicy, see: Callable[[Member, Sequence[Member]], None]) -> None:
        self._policy = policy
        self._see = see

    def choose(self, candidates: Sequence[Member], excluded: frozenset[str], cached: Mapping[str, int] = NOTHING_CACHED) -> Member | None:
        chosen = self._policy.choose(candidates, excluded, cached)
        if chosen is not None:
            self._see(chosen, candidates)
        return chosen


def make_stale(world: World, seconds: float) -> None:
    choice = world.serving.choice
    world.serving.follow(PolicyChoice(choice.name, Stale(choice.policy, world.agenda, seconds)))


def watch(world: World, see: Callable[[Member, Sequence[Member]], None]) -> None:
    choice = world.serving.choice
    world.serving.follow(PolicyChoice(choice.name, Watched(choice.policy, see)))
