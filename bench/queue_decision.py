"""What a contended request costs the fair queue, without anything around it: to be queued, to be chosen, to be settled.

`python -m bench.queue_decision [--json] [--samples N]`. A decision is one call of `RequestQueue.serve` for one slot that became free: who
is next, and that there is no second slot. Microseconds of the processor; the median of the samples, and the best.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from random import Random

from penstock.domain.errors import PenstockError
from penstock.domain.principal import Pool, ServiceClass
from penstock.serving.scheduling.queue_entry import Debt
from penstock.serving.scheduling.request_queue import RequestQueue

_WAITING = (10, 100, 1000)
_REQUESTS = 500
"""In one sample."""
_CLASSES = (ServiceClass.ENTERPRISE, ServiceClass.PREMIUM, ServiceClass.FREE)
_SHARES = (2, 4, 4)
_POOLS: tuple[tuple[Pool, ...], ...] = ((Pool.STANDARD,), (Pool.PRIORITY, Pool.STANDARD), (Pool.STANDARD, Pool.OVERFLOW))


class Slot:
    """Becomes free once."""

    taken: "Request | None" = None


class Request:
    """Joins the queue; nothing else."""

    slot = Slot()
    """The one that is offered to all of them."""

    def __init__(self, random: Random, tenants: int) -> None:
        self.service_class = random.choices(_CLASSES, _SHARES)[0]
        self.org_id = f"org {random.randrange(tenants)}"
        self.pools = random.choice(_POOLS)
        self.excluded: frozenset[str] = frozenset()
        self.prompt_tokens = random.randint(1, 2000)
        self.cached_tokens = 0
        self.max_tokens = 512
        self.queued_at = 0.0
        self.give_up_at = random.uniform(1e6, 2e6)
        self.debt: Debt | None = None

    def find_slot(self) -> bool:
        return self.slot.taken is None

    def has_capacity(self) -> bool:
        return self.slot.taken is None

    def dispatch(self) -> None:
        self.slot.taken = self

    def refuse(self, error: PenstockError) -> None:
        raise AssertionError from error


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds."""

    waiting: int
    join: float
    decision: float
    settle: float
    best_decision: float


def cost(waiting: int, samples: int) -> Cost:
    """With so many in the queue all the time, of a tenth as many tenants in three classes."""
    random = Random(waiting)
    tenants = max(waiting // 10, 3)
    queue = RequestQueue(10**6)
    for _ in range(waiting):
        queue.enqueue(Request(random, tenants), 0.0)
    times: list[tuple[float, float, float]] = []
    now = 0.0
    for _ in range(samples):
        now += 0.001
        times.append(_sample(queue, [Request(random, tenants) for _ in range(_REQUESTS)], now))
    joins, decisions, settles = zip(*times, strict=True)
    median: Callable[[Sequence[float]], float] = statistics.median
    return Cost(waiting, median(joins), median(decisions), median(settles), min(decisions))


def _sample(queue: RequestQueue, requests: list[Request], now: float) -> tuple[float, float, float]:
    clock = time.thread_time
    joining = deciding = settling = 0.0
    gone = requests[0].service_class
    for request in requests:
        Request.slot, request.service_class = Slot(), gone
        began = clock()
        queue.enqueue(request, now)
        joined = clock()
        queue.serve(now)
        decided = clock()
        taken = Request.slot.taken
        assert taken is not None
        queue.settle_debt(taken, 100, 100)
        settled = clock()
        gone = taken.service_class
        joining += joined - began
        deciding += decided - joined
        settling += settled - decided
    scale = 1e6 / len(requests)
    return joining * scale, deciding * scale, settling * scale


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.queue_decision", description=__doc__)
    parser.add_argument("--samples", type=int, default=21, metavar="N")
    parser.add_argument("--json", action="store_true", help="one line of JSON on standard output")
    parsed = parser.parse_args(arguments)
    costs = [cost(waiting, parsed.samples) for waiting in _WAITING]
    if parsed.json:
        print(json.dumps([asdict(each) for each in costs]))
        return 0
    print("waiting   join us   decision us   settle us   (best decision)")
    for each in costs:
        print(f"{each.waiting:>7}  {each.join:8.1f}  {each.decision:12.1f}  {each.settle:10.1f}   {each.best_decision:8.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
