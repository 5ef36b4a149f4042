"""A worker's limit: falls when it becomes slow, comes back when it recovers, never above its slots, frozen while it has little to do."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.serving.routing.adaptive_limit import AdaptiveLimit, LatencyKind, LimitRules


def limit(slots: int = 64) -> AdaptiveLimit:
    return AdaptiveLimit(slots, LimitRules())


def feed(one: AdaptiveLimit, count: int, seconds: float, kind: LatencyKind = LatencyKind.OUTPUT_TOKEN) -> None:
    for _ in range(count):
        one.note(kind, seconds, max(1, int(one.value)))


def test_it_begins_with_all_slots_and_stays_there_while_the_pace_is_steady() -> None:
    one = limit()
    feed(one, 500, 0.02)
    assert one.value == 64.0


def test_a_worker_that_becomes_three_times_slower_has_its_limit_halved() -> None:
    one = limit()
    feed(one, 600, 0.02)
    feed(one, 60, 0.06)
    assert one.value <= 32.0


def test_it_comes_back_with_the_old_pace() -> None:
    one = limit()
    feed(one, 600, 0.02)
    feed(one, 60, 0.06)
    feed(one, 200, 0.02)
    assert one.value == 64.0


def test_a_little_slower_is_no_reason() -> None:
    one = limit()
    feed(one, 600, 0.02)
    feed(one, 100, 0.028)
    assert one.value == 64.0


def test_one_slow_request_is_no_verdict() -> None:
    one = limit()
    feed(one, 600, 0.02)
    feed(one, 1, 0.06)
    assert one.value == 64.0


def test_nothing_is_learned_from_a_worker_with_little_to_do() -> None:
    one = limit()
    feed(one, 600, 0.02)
    for _ in range(1000):
        one.note(LatencyKind.OUTPUT_TOKEN, 5.0, 31)
    assert one.value == 64.0
    feed(one, 10, 0.02)
    assert one.value == 64.0, "also not later"


def test_kinds_of_samples_are_not_compared_with_each_other() -> None:
    one = limit()
    for _ in range(300):
        feed(one, 1, 0.0005, LatencyKind.FIRST_TOKEN)
        feed(one, 1, 0.03, LatencyKind.OUTPUT_TOKEN)
        feed(one, 1, 0.1, LatencyKind.WHOLE)
    assert one.value == 64.0


def test_a_refusal_says_that_it_was_too_much() -> None:
    one = limit()
    one.refused(20)
    assert one.value == 18.0
    one.refused(0)
    assert one.value == 1.0


def test_limit_follows_edited_slots_and_keeps_its_learned_value() -> None:
    one = limit(8)
    one.resize(16)
    assert one.value == 16.0
    one.refused(10)
    one.resize(32)
    assert one.value == 9.0, "what was learned stays"
    one.resize(4)
    assert one.value == 4.0


@given(
    slots=st.integers(1, 300),
    samples=st.lists(st.tuples(st.sampled_from(LatencyKind), st.floats(0.0, 1e6), st.integers(0, 300)), max_size=200),
)
def test_limit_stays_between_one_and_the_slots(slots: int, samples: list[tuple[LatencyKind, float, int]]) -> None:
    one = limit(slots)
    for kind, seconds, in_flight in samples:
        one.note(kind, seconds, in_flight)
        assert 1.0 <= one.value <= slots
