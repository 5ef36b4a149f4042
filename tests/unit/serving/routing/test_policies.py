"""What every policy promises, whoever it is; and what each of them is for."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.base.family import UnknownMember
from penstock.domain.workers import WorkerState
from penstock.serving.routing.choice import PolicyNames, RoutingPolicies
from penstock.serving.routing.member import Member
from penstock.serving.routing.policies import POLICIES, BalancingPolicy
from penstock.serving.routing.prefix import BLOCK_BYTES, BLOCK_TOKENS, PrefixTable, chain
from tests.unit.serving.routing.members import worker

NOBODY: frozenset[str] = frozenset()
NAMES = POLICIES.names()


def policy(name: str, seed: int = 1) -> BalancingPolicy:
    made: BalancingPolicy = POLICIES.member(name)(Random(seed))
    return made


def members(*in_flight: int, limit: int = 1000) -> list[Member]:
    made = []
    for number, count in enumerate(in_flight):
        member = Member(worker(f"w{number}", limit), 0.0)
        member.move(WorkerState.READY)
        member.in_flight, member.outstanding_tokens = count, count * 100
        made.append(member)
    return made


def test_the_family_is_what_the_documents_say() -> None:
    assert NAMES == ["least_outstanding_tokens", "least_requests", "power_of_two", "prefix_affinity", "round_robin"]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(
    loads=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5), st.integers(0, 9_000)), max_size=7),
    excluded=st.frozensets(st.sampled_from([f"w{number}" for number in range(7)])),
    cached=st.dictionaries(st.sampled_from([f"w{number}" for number in range(7)]), st.integers(64, 8_192)),
    seed=st.integers(0, 1_000),
)
def test_policy_chooses_a_worker_with_capacity_when_one_exists(
    name: str, loads: list[tuple[int, int, int]], excluded: frozenset[str], cached: dict[str, int], seed: int
) -> None:
    candidates = members(*(count for count, _, _ in loads))
    for member, (_, limit, tokens) in zip(candidates, loads, strict=True):
        member.limit, member.outstanding_tokens = limit, tokens
    free = [member for member in candidates if member.in_flight < member.limit and member.id not in excluded]
    before = [(member.in_flight, member.outstanding_tokens) for member in candidates]
    chosen = policy(name, seed).choose(candidates, excluded, cached)
    assert chosen in free if free else chosen is None
    assert [(member.in_flight, member.outstanding_tokens) for member in candidates] == before


@pytest.mark.parametrize("name", NAMES)
def test_even_workers_get_even_shares(name: str) -> None:
    one, candidates, got = policy(name), members(0, 0, 0, 0), Counter[str]()
    for _ in range(2_000):
        chosen = one.choose(candidates, NOBODY)
        assert chosen is not None
        got[chosen.id] += 1
        chosen.in_flight += 1
        chosen.outstanding_tokens += 10
    assert max(got.values()) <= 1.05 * min(got.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_same_chance_makes_the_same_choices(name: str) -> None:
    def run() -> list[str]:
        one, candidates = policy(name, 7), members(3, 1, 2, 5)
        chosen = [one.choose(candidates, NOBODY) for _ in range(50)]
        return [member.id for member in chosen if member is not None]

    assert run() == run()


def test_the_fewest_tokens_of_all() -> None:
    candidates = members(4, 2, 3)
    candidates[1].outstanding_tokens = 9_000
    chosen = policy("least_outstanding_tokens").choose(candidates, NOBODY)
    assert chosen is candidates[2]
    chosen = policy("least_requests").choose(candidates, NOBODY)
    assert chosen is candidates[1], "it sees requests and not their size"


def test_round_robin_takes_turns_past_those_that_are_full() -> None:
    one, candidates = policy("round_robin"), members(0, 0, 0)
    candidates[1].limit = 0
    chosen = [one.choose(candidates, NOBODY) for _ in range(4)]
    assert [member.id for member in chosen if member] == ["w0", "w2", "w0", "w2"]


# prefix affinity


def test_the_longest_prefix_wins() -> None:
    candidates = members(1, 1, 1)
    chosen = policy("prefix_affinity").choose(candidates, NOBODY, {"w0": 64, "w2": 192})
    assert chosen is candidates[2]


def test_of_two_that_hold_the_same_the_less_loaded() -> None:
    candidates = members(2, 1, 1)
    candidates[1].outstanding_tokens, candidates[2].outstanding_tokens = 500, 100
    assert policy("prefix_affinity").choose(candidates, NOBODY, {"w1": 64, "w2": 64}) is candidates[2]


def simulate(prompts: list[bytes], count: int, stay: int) -> tuple[Counter[str], float, int]:
    """Requests one after the other, each gone after `stay` others. (requests by worker, worst max/mean, prompts found in a cache)"""
    one, candidates, table = policy("prefix_affinity"), members(*([0] * count)), PrefixTable()
    got, running, worst, hits = Counter[str](), list[Member](), 0.0, 0
    for prompt in prompts:
        prefix = chain(prompt, b"org model")
        cached = table.cached(prefix)
        chosen = one.choose(candidates, NOBODY, cached)
        assert chosen is not None
        hits += bool(cached.get(chosen.id))
        table.learn(prefix, chosen.id)
        chosen.in_flight += 1
        chosen.outstanding_tokens += 100
        got[chosen.id] += 1
        running.append(chosen)
        if len(running) > stay:
            gone = running.pop(0)
            gone.in_flight -= 1
            gone.outstanding_tokens -= 100
        numbers = [member.in_flight for member in candidates]
        # One request more than the bound is what whole numbers cost.
        worst = max(worst, (max(numbers) - 1) / (sum(numbers) / count))
    return got, worst, hits


def test_a_hot_prefix_makes_no_hot_spot() -> None:
    """sglang#14305: everybody asks with the same system prompt."""
    prompts = [b"s" * 4 * BLOCK_BYTES + number.to_bytes(4, "big") * BLOCK_TOKENS for number in range(2_000)]
    got, worst, hits = simulate(prompts, 8, 64)
    assert worst <= 1.25
    assert min(got.values()) > 0.5 * max(got.values())
    assert hits > 0.99 * len(prompts), "each worker has it after its first request"


def test_prefix_affinity_gives_work_to_cold_workers() -> None:
    """dynamo#7836: few prefixes, more workers than prefixes, and the cold ones must get work too when there is much."""
    prompts = [bytes([number % 3]) * 8 * BLOCK_BYTES for number in range(2_000)]
    got, worst, _ = simulate(prompts, 12, 120)
    assert len(got) == 12
    assert worst <= 1.25


def test_shared_prefixes_are_found_again() -> None:
    random = Random(3)
    prompts = [bytes([random.randrange(40)]) * 8 * BLOCK_BYTES for _ in range(2_000)]
    _, worst, hits = simulate(prompts, 8, 32)
    assert hits > 0.9 * len(prompts)
    assert worst <= 1.25


def test_affinity_rests_while_the_fleet_is_uneven() -> None:
    candidates = members(200, 100, 101)
    chosen = {policy("prefix_affinity", seed).choose(candidates, NOBODY, {"w2": 6_400}) for seed in range(20)}
    assert candidates[1] in chosen


# which one


def test_each_model_has_its_own_policy() -> None:
    policies = RoutingPolicies(Random(1), PolicyNames("round_robin", "power_of_two", {"big": "prefix_affinity"}, {"big": "least_requests"}))
    assert policies.names("small") == ("round_robin", "power_of_two")
    assert policies.names("big") == ("prefix_affinity", "least_requests")
    first, second = policies.choice("small"), policies.choice("other")
    assert first.policy is not second.policy
    assert (first.name, first.shadow_name, first.labels) == ("round_robin", "power_of_two", ("round_robin", "turn", "power_of_two"))


def test_a_policy_is_no_shadow_of_itself() -> None:
    assert RoutingPolicies(Random(1), PolicyNames("round_robin", "round_robin")).choice("m").shadow is None


def test_an_unknown_policy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownMember, match="there are: least_outstanding_tokens"):
        PolicyNames("fastest").check()
    with pytest.raises(UnknownMember):
        RoutingPolicies(Random(1)).set("m", "power_of_two", "fastest")
