"""Workers that come back: slowly, with clean counters, and with nothing that the old process had."""

from dataclasses import replace
from random import Random

from penstock.domain.clock import ManualClock
from penstock.domain.principal import Pool
from penstock.serving.routing.attempt_load import AttemptLoad
from penstock.serving.routing.choice import RoutingPolicies
from penstock.serving.routing.health import HealthRules
from penstock.serving.routing.member import Member
from penstock.serving.routing.prefix import BLOCK_BYTES, BLOCK_TOKENS, Prefix, chain
from penstock.serving.routing.serving import Serving
from penstock.serving.routing.worker_set import RoutingRules, WorkerSet
from tests.unit.serving.routing.members import worker

SLOTS = 40


class Some:
    """Some workers of one model, ready."""

    def __init__(self, count: int, slots: int = SLOTS, policies: RoutingPolicies | None = None) -> None:
        self.clock = ManualClock()
        rules = RoutingRules(HealthRules(), priority_reserve=0.0, slow_start_seconds=10.0)
        self.fleet = WorkerSet(policies or RoutingPolicies(Random(1)), rules, self.clock)
        self.changes = 0
        self.members = [self.fleet.put(worker(f"w{number}", slots)) for number in range(count)]
        for member in self.members:
            self.fleet.alive(member.id)

    @property
    def serving(self) -> Serving:
        found = self.fleet.serving("m", None)
        assert found is not None
        return found

    def send(self, member: Member, prompt: int = 100, most: int = 50, prefix: Prefix = ()) -> AttemptLoad:
        load = AttemptLoad(self.fleet, self.serving, member, prompt, most, prefix, self.clock.monotonic())
        load.start()
        return load

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1.0)
            for member in self.members:
                self.fleet.alive(member.id)
            self.fleet.sweep()


def test_a_worker_that_crashed_gets_its_full_share_only_after_a_while() -> None:
    some = Some(4)
    back = some.members[0]
    some.fleet.lost(back.id)
    some.fleet.alive(back.id)
    assert back.limit == SLOTS // 10
    limits = []
    for _ in range(10):
        some.pass_time(1)
        limits.append(back.limit)
    assert limits == sorted(limits)
    assert limits[-1] == SLOTS
    assert [member.limit for member in some.members[1:]] == [SLOTS] * 3


def test_pools_follow_the_limits() -> None:
    some = Some(2)
    some.fleet.lost("w0")
    some.fleet.alive("w0")
    placed = 0
    while (place := some.serving.choose_worker((Pool.STANDARD,), frozenset())) is not None:
        some.send(place[0])
        placed += 1
    assert placed == SLOTS + SLOTS // 10


def test_who_waits_is_told_when_there_is_more_room() -> None:
    some = Some(2)
    some.fleet.lost("w0")
    some.fleet.alive("w0")
    told: list[int] = []
    some.fleet.on_change = lambda keys: told.append(some.members[0].limit)
    some.pass_time(5)
    assert told == sorted(set(told))
    assert len(told) >= 4


def test_workers_return_at_full_limit_after_an_outage_of_all() -> None:
    """Mass false not-ready: the network was to blame, and a short outage must not become a long one."""
    some = Some(6)
    for member in some.members:
        some.fleet.lost(member.id)
    for member in some.members:
        some.fleet.alive(member.id)
        assert member.limit == SLOTS


def test_an_ejected_worker_comes_back_slowly_too() -> None:
    some = Some(10)
    for _ in range(5):
        some.fleet.failed(some.members[0])
    assert some.members[0].ejected_until
    some.pass_time(30)
    assert some.members[0].limit == SLOTS // 10
    some.pass_time(10)
    assert some.members[0].limit == SLOTS


def test_a_new_process_has_nothing_of_what_the_old_one_had() -> None:
    some = Some(2)
    member, busy = some.members[0], some.send
    ghosts = [busy(member) for _ in range(3)]
    prefix = chain(b"x" * 2 * BLOCK_BYTES, b"")
    ghosts.append(some.send(member, prefix=prefix))
    some.fleet.put(replace(member.record, joined_at=5.0))
    assert (member.in_flight, member.outstanding_tokens, some.serving.prefixes.cached(prefix)) == (0, 0, {})
    fresh = some.send(member)
    for ghost in ghosts:
        ghost.first_token(1.0)
        ghost.progress(30)
        ghost.release()
    assert (member.in_flight, member.outstanding_tokens) == (1, 150)
    fresh.release()
    assert (member.in_flight, member.outstanding_tokens, some.serving._busy) == (0, 0, 0)


def test_an_edit_of_a_record_is_no_new_process() -> None:
    some = Some(1)
    member = some.members[0]
    some.send(member)
    some.fleet.put(replace(member.record, slots=7))
    assert (member.in_flight, member.limit) == (1, 7)


# what is outstanding


def test_outstanding_tokens_fall_while_the_answer_comes() -> None:
    some = Some(1)
    member = some.members[0]
    load = some.send(member, prompt=1000, most=64)
    seen = [member.outstanding_tokens]
    load.first_token(1.0)
    seen.append(member.outstanding_tokens)
    for tokens in (8, 16, 48, 90):
        load.progress(tokens)
        seen.append(member.outstanding_tokens)
    load.complete(90, 2.0)
    load.release()
    assert [*seen, member.outstanding_tokens] == [1064, 64, 64, 48, 16, 0, 0]


def test_an_answer_is_expected_to_be_as_long_as_the_others_were() -> None:
    some = Some(1)
    member = some.members[0]
    for _ in range(3):
        load = some.send(member, prompt=0, most=500)
        load.complete(20, 1.0)
        load.release()
    some.send(member, prompt=0, most=500)
    some.send(member, prompt=0, most=5)
    assert member.outstanding_tokens == 20 + 5


def test_cached_tokens_are_not_outstanding() -> None:
    some = Some(1)
    member, prefix = some.members[0], chain(b"x" * 3 * BLOCK_BYTES, b"")
    first = some.send(member, prompt=200, most=0, prefix=prefix)
    assert first.uncached_tokens == 200
    second = some.send(member, prompt=200, most=0, prefix=prefix)
    assert second.uncached_tokens == 200 - 3 * BLOCK_TOKENS
    assert some.serving.cached_tokens(prefix) == 3 * BLOCK_TOKENS


def test_a_slow_worker_gets_fewer_requests() -> None:
    some = Some(2, slots=20)
    member = some.members[0]

    def rush(seconds: float) -> None:
        burdens = [some.send(member) for _ in range(member.limit)]
        for load in burdens:
            load.complete(50, some.clock.monotonic() + seconds)
            load.release()

    for _ in range(40):
        rush(1.0)
    assert member.limit == 20
    for _ in range(10):
        rush(6.0)
    assert member.limit <= 10
    assert some.members[1].limit == 20
    busy = member.limit
    some.fleet.failed(member, busy=True)
    assert member.limit < busy
    assert member.failures_in_a_row == 0


# the policy and its shadow


def test_a_policy_is_exchanged_while_requests_run() -> None:
    some = Some(3)
    load = some.send(some.members[0])
    some.fleet.set_policy("m", "round_robin", "least_requests")
    placed = [some.serving.choose_worker((Pool.STANDARD,), frozenset()) for _ in range(6)]
    assert [place[0].id for place in placed if place] == ["w0", "w1", "w2", "w0", "w1", "w2"]
    assert some.serving.shadow_agreed + some.serving.shadow_differed == 6
    assert some.serving.shadow_differed >= 2, "w0 has a request already"
    some.fleet.unset_policy("m")
    assert some.serving.choice.name == "power_of_two"
    load.release()
    assert some.members[0].in_flight == 0
