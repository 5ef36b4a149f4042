"""A production trace under each policy, squeezed until the workers are busy."""

from collections.abc import Sequence
from random import Random

from penstock.simulation.rehearsal import figures
from penstock.simulation.rehearsal.machine import MachineSpec
from penstock.simulation.rehearsal.traffic import PlannedRequest, Sizes, asks, of_classes, poisson, scaled, work_tokens
from penstock.simulation.rehearsal.verdict import Scenario
from penstock.simulation.rehearsal.world import Setup, World
from penstock.simulation.replica import Speed

_GPU = Speed(prefill_tokens_per_second=20_000, step_seconds=0.02, step_seconds_per_sequence=0.0005, max_batch=32)
_REQUESTS = 1_500
_TOKENS_PER_SECOND = 20_000.0
"""Prompt and output together: about eight tenths of what the workers below can do."""
POLICIES = ("round_robin", "least_requests", "least_outstanding_tokens", "power_of_two", "prefix_affinity")


def scenario(trace: Sequence[PlannedRequest] = ()) -> Scenario:
    """`trace`: a production trace; without one, traffic of the same lengths is drawn."""

    def measure(seed: int, brief: bool) -> dict[str, float]:
        random = Random(seed)
        given = _excerpt(trace, random, _REQUESTS // 3 if brief else _REQUESTS)
        seconds = given[-1].at
        found: dict[str, float] = {}
        for policy in POLICIES:
            world = World(Setup(tuple(MachineSpec(f"w{n}", _GPU, 32) for n in range(8)), policy), seed)
            results = world.play(given, seconds + 90.0)
            found |= {
                f"{policy}: TTFT p50 s": figures.first_token(results, 0.5),
                f"{policy}: TTFT p99 s": figures.first_token(results, 0.99),
                f"{policy}: TPOT p99 ms": 1000 * figures.per_token(results, 0.99),
                f"{policy}: completion p99 s": figures.completion(results, 0.99),
                f"{policy}: goodput req/s": figures.goodput(results, 0.0, seconds),
            }
        return found

    source = "an excerpt of the trace" if trace else "not given: drawn with its medians and spread"
    return Scenario(
        "production_trace",
        "A production chat, by policy",
        f"Azure's conversation trace of 2023 ({source}), {_REQUESTS} requests from another place for each seed, squeezed to"
        f" {_TOKENS_PER_SECOND:,.0f} tokens/s on eight workers; 10/30/60 % enterprise/premium/free.",
        measure,
    )


def _excerpt(trace: Sequence[PlannedRequest], random: Random, count: int) -> list[PlannedRequest]:
    if trace:
        start = random.randrange(max(1, len(trace) - count))
        part = trace[start : start + count]
        given = [ask._replace(at=ask.at - part[0].at) for ask in part]
    else:
        sizes = Sizes()
        given = asks(poisson(random, 5.0, count / 5.0), lambda: sizes.draw(random))
    pace = work_tokens(given) / given[-1].at
    return of_classes(random, scaled(given, _TOKENS_PER_SECOND / pace))
