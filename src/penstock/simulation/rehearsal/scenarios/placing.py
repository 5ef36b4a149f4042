"""Where requests go: mixed lengths and shared prompts, by policy."""

import math
from collections.abc import Sequence
from random import Random

from penstock.serving.routing.member import Member
from penstock.serving.routing.worker_set import RoutingRules
from penstock.simulation.rehearsal import figures
from penstock.simulation.rehearsal.baselines import make_stale, watch
from penstock.simulation.rehearsal.machine import MachineSpec
from penstock.simulation.rehearsal.traffic import PlannedRequest, Shape, Sizes, asks, at_most, poisson, zipf_prefixes
from penstock.simulation.rehearsal.verdict import PassLine, Scenario
from penstock.simulation.rehearsal.world import Setup, World
from penstock.simulation.replica import Speed

_FLEET = RoutingRules(limits=None, slow_start_seconds=0.0)
"""Limits that do not move: what is compared is the choice alone."""

# --- lengths of 1 to 100 -------------------------------------------------------------------------------------------

_GPU = Speed(prefill_tokens_per_second=8_000, step_seconds=0.02, step_seconds_per_sequence=0.0004, max_batch=64)
_WORKERS, _RATE = 8, 32.0
_SHORT, _LONG = 64, 6_400


def _mixed(seed: int, seconds: float) -> list[PlannedRequest]:
    random = Random(seed)
    output = Sizes(output_median=80, output_sigma=0.6, longest_output=400)

    def draw() -> Shape:
        return Shape(_LONG if random.random() < 0.1 else _SHORT, output.draw(random).output_tokens)

    return asks(poisson(random, _RATE, seconds), draw)


def _first_tokens(
    policy: str, seed: int, given: Sequence[PlannedRequest], seconds: float, stale_seconds: float = 0.0
) -> tuple[float, World]:
    """The p99, warm-up left out."""
    machines = tuple(MachineSpec(f"w{n}", _GPU, 64) for n in range(_WORKERS))
    world = World(Setup(machines, policy, routing=_FLEET), seed)
    if stale_seconds:
        make_stale(world, stale_seconds)
    results = world.play(given, seconds + 120.0)
    return figures.first_token((one for one in results if one.ask.at > seconds * 0.1), 0.99), world


def _measure_lengths(seed: int, brief: bool) -> dict[str, float]:
    seconds = 30.0 if brief else 60.0
    given = _mixed(seed, seconds)
    p99: dict[str, float] = {}
    left = 0.0
    for policy in ("least_outstanding_tokens", "power_of_two", "least_requests", "round_robin"):
        p99[policy], world = _first_tokens(policy, seed, given, seconds)
        left += math.fsum(map(abs, world.leaks().values()))
    return {
        **{f"TTFT p99 s, {name}": value for name, value in p99.items()},
        "least outstanding tokens / least requests": p99["least_outstanding_tokens"] / p99["least_requests"],
        "power of two / full scan, at such lengths": p99["power_of_two"] / p99["least_outstanding_tokens"],
        "counters left over": left,
    }


MIXED_LENGTHS = Scenario(
    "mixed_lengths",
    "Prompts of 1 to 100",
    f"{_WORKERS} workers, {_RATE:g} requests/s: nine of ten prompts have {_SHORT} tokens, one has {_LONG}, which takes 0.8 s to read.",
    _measure_lengths,
    (
        PassLine("least_outstanding_tokens.p99_ttft_vs_least_requests", "least outstanding tokens / least requests", "<", 1.0),
        PassLine("least_outstanding_tokens.counters_end_at_zero", "counters left over", "=", 0.0, "every"),
    ),
)

# --- loads that are fresh, and loads that are not -------------------------------------------------------------------

_ORDINARY_RATE = 16.0


def _measure_two(seed: int, brief: bool) -> dict[str, float]:
    seconds = 40.0 if brief else 120.0
    random = Random(seed)
    sizes = Sizes()
    given = asks(poisson(random, _ORDINARY_RATE, seconds), lambda: sizes.draw(random))
    found: dict[str, float] = {}
    for age in (0.0, 1.0, 5.0):
        two, _ = _first_tokens("power_of_two", seed, given, seconds, age)
        full, _ = _first_tokens("least_outstanding_tokens", seed, given, seconds, age)
        when = f"loads {age:g} s old" if age else "loads as they are"
        found |= {
            f"TTFT p99 s, power_of_two, {when}": two,
            f"TTFT p99 s, least_outstanding_tokens, {when}": full,
            f"power of two / full scan, {when}": two / full,
        }
    return found


OLD_LOADS = Scenario(
    "old_loads",
    "Loads that are fresh, and loads that are not",
    f"{_WORKERS} workers, {_ORDINARY_RATE:g} requests/s of the lengths of a production chat; the policy sees each worker's load as it is,"
    " or as it was when it was last reported. Full scan: the fewest outstanding tokens of all.",
    _measure_two,
    (
        PassLine("power_of_two.p99_ttft_vs_full_scan", "power of two / full scan, loads as they are", "<=", 1.1),
        PassLine("power_of_two.p99_ttft_vs_full_scan_1s_old", "power of two / full scan, loads 1 s old", "<", 1.0),
        PassLine("power_of_two.p99_ttft_vs_full_scan_5s_old", "power of two / full scan, loads 5 s old", "<", 1.0),
    ),
)

# --- prompts that begin alike --------------------------------------------------------------------------------------

_PREFIXES, _PREFIX_TOKENS, _CACHE_TOKENS, _ZIPF = 400, 1_024, 56 * 1_024, 0.6
_CHAT_RATE = 24.0


def _chat(seed: int, seconds: float, *, shared: bool) -> list[PlannedRequest]:
    random = Random(seed)
    sizes = Sizes(prompt_median=150, prompt_sigma=0.8, output_median=100, output_sigma=0.7, longest_prompt=4_000, longest_output=600)
    given = asks(poisson(random, _CHAT_RATE, seconds), lambda: sizes.draw(random))
    if shared:
        return zipf_prefixes(random, given, _PREFIXES, _ZIPF, _PREFIX_TOKENS)
    return [ask._replace(prompt_tokens=ask.prompt_tokens + _PREFIX_TOKENS, max_tokens=at_most(ask.output_tokens)) for ask in given]


def _played(policy: str, seed: int, given: Sequence[PlannedRequest], seconds: float) -> tuple[World, float]:
    """The world afterwards, and how much of the bound its fullest worker ever took when one was chosen: (most - 1) / mean."""
    machines = tuple(MachineSpec(f"w{n}", _GPU, 64, prefix_cache_tokens=_CACHE_TOKENS) for n in range(_WORKERS))
    world = World(Setup(machines, policy, routing=_FLEET), seed)
    worst = 0.0

    def see(chosen: Member, candidates: Sequence[Member]) -> None:
        nonlocal worst
        mean = (sum(member.in_flight for member in candidates) + 1) / len(candidates)
        worst = max(worst, chosen.in_flight / mean)

    watch(world, see)
    world.play(given, seconds + 120.0)
    return world, worst


def _hits(world: World) -> float:
    return sum(one.cached_tokens for one in world.machines.values()) / sum(one.prompt_tokens for one in world.machines.values())


def _measure_prefixes(seed: int, brief: bool) -> dict[str, float]:
    seconds = 60.0 if brief else 120.0
    shared, alone = _chat(seed, seconds, shared=True), _chat(seed, seconds, shared=False)
    found: dict[str, float] = {}
    for policy in ("prefix_affinity", "power_of_two", "round_robin"):
        world, worst = _played(policy, seed, shared, seconds)
        found |= {
            f"hit rate, {policy}": _hits(world),
            f"TTFT p99 s, {policy}": figures.first_token(world.results, 0.99),
            f"fullest worker over mean, {policy}": worst,
        }
    apart = {policy: _played(policy, seed, alone, seconds)[0] for policy in ("prefix_affinity", "power_of_two")}
    p99 = {policy: figures.first_token(world.results, 0.99) for policy, world in apart.items()}
    return {
        **found,
        "hit rate / round robin's": found["hit rate, prefix_affinity"] / found["hit rate, round_robin"],
        "nothing shared: p99 / power of two's": p99["prefix_affinity"] / p99["power_of_two"],
    }


SHARED_PREFIXES = Scenario(
    "shared_prefixes",
    "Chats that begin alike",
    f"{_WORKERS} workers, {_CHAT_RATE:g} requests/s, {_PREFIXES} system prompts of {_PREFIX_TOKENS} tokens (Zipf, exponent {_ZIPF:g});"
    f" each worker keeps {_CACHE_TOKENS // _PREFIX_TOKENS} of them. Fullest over mean: (requests that the chosen worker would have - 1) /"
    " mean, the worst of all choices.",
    _measure_prefixes,
    (
        PassLine("prefix_affinity.hit_rate_vs_round_robin", "hit rate / round robin's", ">=", 3.0),
        PassLine("prefix_affinity.load_bound", "fullest worker over mean, prefix_affinity", "<=", 1.25, "every"),
        PassLine("prefix_affinity.p99_ttft_without_sharing", "nothing shared: p99 / power of two's", "<=", 1.05),
    ),
)
