"""The model of a GPU on a clock of our own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.simulation.replica import SimulatedReplica, Speed

# Powers of two, so that times are exact in floating point.
SPEED = Speed(prefill_tokens_per_second=1024, step_seconds=0.25, step_seconds_per_sequence=0.0625, kv_tokens=100, max_batch=2)


def times(replica: SimulatedReplica[str]) -> list[tuple[float, dict[str, int]]]:
    """Every event until the replica is idle."""
    events = []
    while (due := replica.next_event()) is not None:
        events.append((due, replica.advance(due)))
    return events


def test_the_first_step_reads_the_prompt_and_the_others_decode() -> None:
    replica: SimulatedReplica[str] = SimulatedReplica(SPEED)
    replica.submit("a", prompt_tokens=64, output_tokens=3, now=10.0)
    first = 10.0 + 64 / 1024 + 0.3125
    assert times(replica) == [(first, {"a": 1}), (first + 0.3125, {"a": 1}), (first + 0.625, {"a": 1})]


def test_a_sequence_joins_at_the_next_step_and_slows_the_others() -> None:
    replica: SimulatedReplica[str] = SimulatedReplica(SPEED)
    replica.submit("a", 0, 3, now=0.0)
    replica.submit("b", 64, 1, now=0.125)
    assert times(replica) == [(0.3125, {"a": 1}), (0.3125 + 0.375 + 64 / 1024, {"a": 1, "b": 1}), (1.0625, {"a": 1})]


def test_catching_up_gives_every_token_that_was_due() -> None:
    replica: SimulatedReplica[str] = SimulatedReplica(SPEED)
    replica.submit("a", 0, 5, now=0.0)
    assert replica.advance(0.3) == {}
    assert replica.advance(1.0) == {"a": 3}
    assert replica.advance(99.0) == {"a": 2}
    assert replica.next_event() is None


def test_request_that_does_not_fit_waits_and_is_not_overtaken() -> None:
    replica: SimulatedReplica[str] = SimulatedReplica(SPEED)
    replica.submit("a", 50, 10, now=0.0)
    replica.submit("large", 50, 10, now=0.0)
    replica.submit("small", 1, 1, now=0.0)
    replica.advance(replica.next_event() or 0.0)
    assert (replica.running, replica.waiting) == (1, 2)
    assert replica.kv_usage == pytest.approx(0.51)
    ends = [event for event in times(replica) if "large" in event[1]]
    assert len(ends) == 10


def test_the_batch_is_bounded() -> None:
    replica: SimulatedReplica[str] = SimulatedReplica(SPEED)
    for name in "abc":
        replica.submit(name, 1, 1, now=0.0)
    # "a" began alone: a step that runs takes nobody in.
    assert [set(made) for _, made in times(replica)] == [{"a"}, {"b", "c"}]


def test_cancelling_frees_memory_and_a_place() -> None:
    replica: SimulatedReplica[str] = SimulatedReplica(SPEED)
    replica.submit("a", 90, 10, now=0.0)
    replica.submit("b", 90, 10, now=0.0)
    replica.cancel("a")
    replica.cancel("nobody")
    assert replica.running == 0
    replica.advance(replica.next_event() or 0.0)
    assert (replica.running, replica.waiting) == (1, 0)


def test_cancelling_what_waits_forgets_it() -> None:
    replica: SimulatedReplica[str] = SimulatedReplica(SPEED)
    replica.submit("a", 90, 1, now=0.0)
    replica.submit("b", 90, 1, now=0.0)
    replica.cancel("b")
    assert replica.waiting == 0
    assert [set(made) for _, made in times(replica)] == [{"a"}]


def test_reading_alone_makes_no_token() -> None:
    replica: SimulatedReplica[str] = SimulatedReplica(SPEED)
    replica.submit("embedding", 64, 0, now=0.0)
    assert times(replica) == [(64 / 1024 + 0.3125, {"embedding": 0})]


def test_request_that_never_fits_or_is_a_duplicate_is_refused() -> None:
    replica: SimulatedReplica[str] = SimulatedReplica(SPEED)
    with pytest.raises(ValueError, match="never fit"):
        replica.submit("a", 100, 1, now=0.0)
    replica.submit("a", 1, 1, now=0.0)
    with pytest.raises(ValueError, match="already"):
        replica.submit("a", 1, 1, now=0.0)


def test_an_endless_speed_is_instant() -> None:
    replica: SimulatedReplica[str] = SimulatedReplica(SPEED.times(float("inf")))
    replica.submit("a", 50, 50, now=1.0)
    assert replica.advance(1.0) == {"a": 50}


SEQUENCES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40), st.floats(0, 2)), min_size=1, max_size=30)


@given(asked=SEQUENCES, cancelled=st.sets(st.integers(0, 29)), pace=st.floats(0.01, 3))
def test_every_sequence_gets_its_tokens_and_all_memory_comes_back(
    asked: list[tuple[int, int, float]], cancelled: set[int], pace: float
) -> None:
    replica: SimulatedReplica[int] = SimulatedReplica(SPEED)
    made: dict[int, int] = {}
    now = 0.0
    for key, (prompt, output, wait) in enumerate(asked):
        now += wait
        for at, tokens in replica.advance(now).items():
            made[at] = made.get(at, 0) + tokens
        replica.submit(key, prompt, output, now)
        if key in cancelled:
            replica.cancel(key)
        assert replica.running <= SPEED.max_batch
        assert 0.0 <= replica.kv_usage <= 1.0
    while replica.next_event() is not None:
        now += pace
        for at, tokens in replica.advance(now).items():
            made[at] = made.get(at, 0) + tokens
    for key, (_, output, _) in enumerate(asked):
        assert made.get(key, 0) == (0 if key in cancelled else output)
    assert (replica.running, replica.waiting, replica.kv_usage) == (0, 0, 0.0)
    replica.submit(-1, 0, SPEED.kv_tokens, now)  # all of the memory is there again
    assert replica.advance(now + 1000)[-1] == SPEED.kv_tokens


@given(asked=SEQUENCES, pace=st.integers(1, 24))
def test_reckoned_steps_are_those_that_would_have_been_walked(asked: list[tuple[int, int, float]], pace: int) -> None:
    """One replica is asked at the end of every step, the other now and then: who had what, and when, is the same."""
    walked: SimulatedReplica[int] = SimulatedReplica(SPEED)
    leapt: SimulatedReplica[int] = SimulatedReplica(SPEED)
    for key, (prompt, output, _) in enumerate(asked):
        walked.submit(key, prompt, output, 0.0)
        leapt.submit(key, prompt, output, 0.0)
    now, walked_made, leapt_made = 0.0, dict.fromkeys(range(len(asked)), 0), dict.fromkeys(range(len(asked)), 0)
    while leapt.next_event() is not None:
        now += pace
        while (due := walked.next_event()) is not None and due <= now:
            for key, tokens in walked.advance(due).items():
                walked_made[key] += tokens
        for key, tokens in leapt.advance(now).items():
            leapt_made[key] += tokens
        assert leapt_made == walked_made
    assert walked.next_event() is None


@given(asked=SEQUENCES)
def test_going_from_change_to_change_misses_no_first_and_no_last_token(asked: list[tuple[int, int, float]]) -> None:
    walked: SimulatedReplica[int] = SimulatedReplica(SPEED)
    hurried: SimulatedReplica[int] = SimulatedReplica(SPEED)
    for key, (prompt, output, _) in enumerate(asked):
        walked.submit(key, prompt, output, 0.0)
        hurried.submit(key, prompt, output, 0.0)
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    while (due := walked.next_event()) is not None:
        for key in walked.advance(due):
            first.setdefault(key, due)
            last[key] = due
    hurried_first: dict[int, float] = {}
    hurried_last: dict[int, float] = {}
    while (due := hurried.next_change()) is not None:
        fresh, gone = hurried.progress(due)
        hurried_first |= dict.fromkeys(fresh, due)
        hurried_last |= dict.fromkeys(gone, due)
    assert hurried_first == pytest.approx(first)
    assert hurried_last == pytest.approx(last)


def test_cached_prompt_tokens_skip_the_prefill() -> None:
    replica: SimulatedReplica[str] = SimulatedReplica(SPEED)
    replica.submit("a", 64, 1, now=0.0, cached_tokens=32)
    assert times(replica) == [(32 / 1024 + 0.3125, {"a": 1})]


def test_a_slower_gpu_is_slower_from_the_next_step_on() -> None:
    replica: SimulatedReplica[str] = SimulatedReplica(SPEED)
    replica.submit("a", 0, 3, now=0.0)
    replica.become(SPEED.times(0.5))
    assert times(replica) == [(0.3125, {"a": 1}), (0.9375, {"a": 1}), (1.5625, {"a": 1})]
    assert replica.made("a") == 0
