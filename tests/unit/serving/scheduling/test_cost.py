"""What a decision costs: counted in steps of the interpreter, so that no machine's speed matters."""

import sys
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import Any

from penstock.domain.principal import ServiceClass
from penstock.serving.scheduling.heap import Heap
from penstock.serving.scheduling.request_queue import RequestQueue
from tests.unit.serving.scheduling.entries import PRIORITY, STANDARD, Entry, joined, serve


def steps(act: Callable[[], object]) -> int:
    """Bytecode instructions that run in our own code."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


def steps_for_a_request(waiting: int) -> float:
    """One that joins while a slot becomes free for another, on average, with so many others in the queue all the time."""
    random = Random(waiting)
    queue = RequestQueue(10**6)

    def one(number: int) -> Entry:
        pools = random.choice([STANDARD, PRIORITY])
        service_class = random.choice([ServiceClass.PREMIUM, ServiceClass.FREE, ServiceClass.BATCH])
        return Entry(
            number, service_class, pools, 0.0, random.uniform(50, 100), f"org {random.randrange(waiting)}", prompt_tokens=number % 900
        )

    def go_on() -> None:
        for entry in more:
            queue.enqueue(entry, 0.0)
            (served,) = serve(queue, 1)
            queue.settle_debt(served, 10, 10)

    joined(queue, *(one(number) for number in range(waiting)))
    more = [one(number) for number in range(60)]
    return steps(go_on) / len(more)


def test_a_decision_among_many_costs_hardly_more_than_one_among_few() -> None:
    few, many = steps_for_a_request(20), steps_for_a_request(1280)
    assert many < 1.5 * few


def test_discarded_heap_entries_are_released() -> None:
    heap: Heap[Entry] = Heap()
    entries = [Entry(number) for number in range(1000)]
    for entry in entries:
        heap.put(entry, (entry.name, 0.0))
    for entry in entries[1:]:
        heap.discard(entry)
    assert (heap.first(), len(heap)) == (entries[0], 1)
    assert len(heap._places) < 20
