"""What guards hold for a request: taken in order, and settled or released exactly once."""

import pytest

from penstock.domain.call import Demand
from penstock.domain.clock import ManualClock
from penstock.domain.errors import QuotaExhausted, RateLimited
from penstock.domain.principal import Principal
from penstock.domain.tokens import TokenCount
from penstock.serving.admission.gate import Gate
from penstock.serving.admission.guards import Hold
from penstock.storage.state.memory import MemoryQuotas
from tests.unit.serving.admission.principals import PLAN, demand, principal

NOW = 100.0
USED = TokenCount(prompt=3, completion=4)


class Budget:
    """A guard that holds one unit a request and keeps a log; `empty`: it refuses instead."""

    def __init__(self, name: str, log: list[str], *, empty: bool = False) -> None:
        self.name, self.log, self.empty = name, log, empty

    def admit(self, who: Principal, what: Demand, now: float, /) -> Hold | None:
        self.log.append(f"{self.name} admit")
        if self.empty:
            raise QuotaExhausted("The budget is used up.")
        return self

    def settle(self, count: TokenCount, /) -> None:
        self.log.append(f"{self.name} settle {count.prompt}+{count.completion}")

    def release(self) -> None:
        self.log.append(f"{self.name} release")


class Free:
    """A guard that holds nothing."""

    def admit(self, who: Principal, what: Demand, now: float, /) -> Hold | None:
        return None


@pytest.fixture
def log() -> list[str]:
    return []


def test_holds_are_settled_once_with_the_tokens_used(log: list[str]) -> None:
    gate = Gate(MemoryQuotas(ManualClock()), (Budget("month", log), Free(), Budget("day", log)))
    admission = gate.admit(principal(), demand(), NOW)
    admission.settle_tokens(USED)
    admission.settle_tokens(USED)
    admission.release()
    assert log == ["month admit", "day admit", "month settle 3+4", "day settle 3+4"]


def test_holds_are_released_once_when_nothing_was_used(log: list[str]) -> None:
    admission = Gate(MemoryQuotas(ManualClock()), (Budget("month", log),)).admit(principal(), demand(), NOW)
    admission.release()
    admission.settle_tokens(USED)
    assert log == ["month admit", "month release"]


def test_refusal_of_a_guard_releases_what_earlier_ones_hold_and_takes_no_tokens(log: list[str]) -> None:
    gate = Gate(MemoryQuotas(ManualClock()), (Budget("month", log), Budget("day", log, empty=True), Budget("never", log)))
    who = principal()
    with pytest.raises(QuotaExhausted):
        gate.admit(who, demand(10, 10), NOW)
    assert log == ["month admit", "day admit", "month release"]
    assert gate.in_flight(who) == 0
    assert b"x-ratelimit-remaining-tokens: %d\r\n" % PLAN.tokens_per_minute in gate.header_block(who, NOW)


def test_refusal_by_tokens_per_minute_releases_what_guards_hold(log: list[str]) -> None:
    gate = Gate(MemoryQuotas(ManualClock()), (Budget("month", log),))
    with pytest.raises(RateLimited):
        gate.admit(principal(), demand(10**9, 1), NOW)
    assert log == ["month admit", "month release"]


def test_refusal_by_concurrency_asks_no_guard(log: list[str]) -> None:
    gate = Gate(MemoryQuotas(ManualClock()), (Budget("month", log),))
    for _ in range(PLAN.concurrency):
        gate.admit(principal(), demand(1, 1), NOW)
    log.clear()
    with pytest.raises(RateLimited):
        gate.admit(principal(), demand(1, 1), NOW)
    assert log == []
