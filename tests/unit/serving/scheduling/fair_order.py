"""Weighted fair queueing (Demers, Keshav, Shenker, 1989): the order that the queue is compared with."""

from penstock.domain.principal import ServiceClass
from tests.unit.serving.scheduling.entries import Entry


def weighted_fair_order(entries: list[Entry], weights: dict[ServiceClass, int]) -> list[Entry]:
    """All of them wait from the beginning: each class's entries finish one after the other at its own speed."""
    finished = dict.fromkeys(weights, 0.0)
    order = []
    for entry in entries:
        finished[entry.service_class] += cost(entry) / weights[entry.service_class]
        order.append((finished[entry.service_class], entry.service_class, entry.name, entry))
    return [entry for *_, entry in sorted(order)]


def cost(entry: Entry) -> int:
    return entry.prompt_tokens + entry.max_tokens


def tokens_of(entries: list[Entry], service_class: ServiceClass) -> int:
    return sum(cost(entry) for entry in entries if entry.service_class is service_class)
