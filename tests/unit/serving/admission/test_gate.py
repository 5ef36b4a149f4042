"""The gate: every refusal in its written order, what each leaves behind, and what an admission gives back."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.call import Demand
from penstock.domain.clock import ManualClock
from penstock.domain.errors import BadRequest, PenstockError, PermissionDenied, RateLimited, ResourceUnavailable
from penstock.domain.principal import KeyActor, Plan, Pool, Principal, Scope, ServiceTier
from penstock.domain.tokens import TokenCount
from penstock.serving.admission.gate import Admission, Gate
from penstock.serving.admission.guards import Hold
from penstock.storage.state.memory import MemoryQuotas
from tests.unit.serving.admission.principals import PLAN, demand, principal

SMALL = demand(1, 1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def gate(clock: ManualClock) -> Gate:
    return Gate(MemoryQuotas(clock))


def headers(block: bytes) -> dict[str, str]:
    assert block.endswith(b"\r\n")
    return dict(line.split(": ", 1) for line in block.decode("ascii").removesuffix("\r\n").split("\r\n"))


def remaining(gate: Gate, who: Principal, clock: ManualClock) -> tuple[int, int]:
    found = headers(gate.header_block(who, clock.monotonic()))
    return int(found["x-ratelimit-remaining-requests"]), int(found["x-ratelimit-remaining-tokens"])


def refusal(gate: Gate, who: Principal, what: Demand, clock: ManualClock) -> PenstockError:
    with pytest.raises(PenstockError) as caught:
        gate.admit(who, what, clock.monotonic())
    return caught.value


def plan(requests: int = 60, tokens: int = 1000, concurrency: int = 4) -> Plan:
    return replace(PLAN, requests_per_minute=requests, tokens_per_minute=tokens, concurrency=concurrency)


def test_an_admission_reserves_and_settles(gate: Gate, clock: ManualClock) -> None:
    who = principal()
    admission = gate.admit(who, demand(20, 80), clock.monotonic())
    assert (admission.reserved_tokens, admission.tier, admission.pool) == (100, ServiceTier.DEFAULT, Pool.STANDARD)
    assert admission.pools == (Pool.STANDARD,)
    assert (remaining(gate, who, clock), gate.in_flight(who)) == ((59, 900), 1)
    admission.settle_tokens(TokenCount(30, 0))
    assert (remaining(gate, who, clock), gate.in_flight(who)) == ((59, 970), 0)


def test_settling_happens_once(gate: Gate, clock: ManualClock) -> None:
    who = principal()
    admission = gate.admit(who, demand(20, 80), clock.monotonic())
    admission.settle_tokens(TokenCount(30, 0))
    admission.settle_tokens(TokenCount(0, 0))
    admission.release()
    assert (remaining(gate, who, clock), gate.in_flight(who)) == ((59, 970), 0)


def test_a_release_returns_all_tokens_but_not_the_request(gate: Gate, clock: ManualClock) -> None:
    who = principal()
    gate.admit(who, demand(20, 80), clock.monotonic()).release()
    assert (remaining(gate, who, clock), gate.in_flight(who)) == ((59, 1000), 0)


def test_more_used_than_reserved_is_charged(gate: Gate, clock: ManualClock) -> None:
    who = principal()
    gate.admit(who, demand(20, 80), clock.monotonic()).settle_tokens(TokenCount(400, 0))
    assert remaining(gate, who, clock) == (59, 600)


def test_requests_per_minute(gate: Gate, clock: ManualClock) -> None:
    who = principal(plan=plan(requests=2))
    for _ in range(2):
        gate.admit(who, SMALL, clock.monotonic()).settle_tokens(TokenCount(2, 0))
    error = refusal(gate, who, SMALL, clock)
    assert isinstance(error, RateLimited)
    assert (error.status, error.code, error.retry) == (429, "rate_limit_exceeded", None)
    assert "2 requests per minute" in error.message
    assert "organisation" in error.message
    assert error.retry_after_seconds == pytest.approx(30, abs=1e-3)
    assert error.retry_after_seconds is not None
    clock.advance(error.retry_after_seconds)
    gate.admit(who, SMALL, clock.monotonic())


def test_tokens_per_minute(gate: Gate, clock: ManualClock) -> None:
    who = principal()
    gate.admit(who, demand(500, 400), clock.monotonic())
    error = refusal(gate, who, demand(100, 200), clock)
    assert "1000 tokens per minute" in error.message
    assert "300 requested" in error.message
    assert error.retry_after_seconds == pytest.approx(12, abs=1e-3)


def test_tokens_that_the_limit_never_allows(gate: Gate, clock: ManualClock) -> None:
    error = refusal(gate, principal(), demand(500, 501), clock)
    assert isinstance(error, RateLimited)
    assert (error.retry, error.retry_after_seconds) == (False, None)
    assert "1001 tokens" in error.message
    assert "max_tokens" in error.message


def test_a_wait_beyond_a_minute_tells_the_client_not_to_try(gate: Gate, clock: ManualClock) -> None:
    who = principal()
    gate.admit(who, demand(500, 500), clock.monotonic()).settle_tokens(TokenCount(4000, 0))
    error = refusal(gate, who, demand(1, 1), clock)
    assert error.retry is False
    assert error.retry_after_seconds is not None
    assert error.retry_after_seconds > 60


def test_concurrency_counts_all_keys_of_an_organisation_together(gate: Gate, clock: ManualClock) -> None:
    running = [gate.admit(principal(f"key_{number}"), SMALL, clock.monotonic()) for number in range(4)]
    for key_id in ("key_1", "key_5"):
        error = refusal(gate, principal(key_id), SMALL, clock)
        assert (type(error), error.retry_after_seconds) == (RateLimited, 1.0)
        assert "This organisation has reached its limit of 4 requests at the same time." in error.message
    gate.admit(principal("key_6", "org_2"), SMALL, clock.monotonic())
    running[0].settle_tokens(TokenCount(2, 0))
    gate.admit(principal("key_5"), SMALL, clock.monotonic())


def test_key_with_a_number_of_its_own_has_fewer_places_than_its_organisation(gate: Gate, clock: ManualClock) -> None:
    narrow, wide = principal("key_1", concurrency=1), principal("key_2")
    first = gate.admit(narrow, demand(1, 9), clock.monotonic())
    error = refusal(gate, narrow, SMALL, clock)
    assert (type(error), error.message) == (RateLimited, "This API key has reached its limit of 1 requests at the same time.")
    gate.admit(wide, SMALL, clock.monotonic())
    assert (gate.in_flight(narrow), remaining(gate, narrow, clock)[1]) == (2, 988)
    first.release()
    second = gate.admit(narrow, SMALL, clock.monotonic())
    wider = principal("key_1", concurrency=2)
    gate.admit(wider, SMALL, clock.monotonic())
    refusal(gate, wider, SMALL, clock)
    second.settle_tokens(TokenCount(1, 1))
    second.settle_tokens(TokenCount(1, 1))
    gate.admit(wider, SMALL, clock.monotonic())
    refusal(gate, wider, SMALL, clock)


def test_refusal_by_tokens_gives_the_keys_own_place_back(gate: Gate, clock: ManualClock) -> None:
    narrow = principal("key_1", concurrency=1)
    refusal(gate, narrow, demand(5000, 1), clock)
    gate.admit(narrow, SMALL, clock.monotonic())


def test_gate_of_tasks_has_the_same_limits_and_counts_what_runs_apart(clock: ManualClock) -> None:
    quotas = MemoryQuotas(clock)
    gate, tasks = Gate(quotas), Gate(quotas, what="requests of tasks")
    who = principal(plan=plan(requests=60, concurrency=2))
    for _ in range(2):
        tasks.admit(who, SMALL, clock.monotonic())
    assert "2 requests of tasks at the same time" in refusal(tasks, who, SMALL, clock).message
    gate.admit(who, SMALL, clock.monotonic())
    assert (remaining(gate, who, clock)[0], gate.in_flight(who), tasks.in_flight(who)) == (57, 1, 2)


def test_enter_counts_the_request_without_its_body(gate: Gate, clock: ManualClock) -> None:
    who = principal(plan=plan(requests=2))
    for _ in range(2):
        gate.enter(who, clock.monotonic())
    with pytest.raises(RateLimited, match="2 requests per minute"):
        gate.enter(who, clock.monotonic())
    assert gate.in_flight(who) == 0, "nothing has to be given back"
    gate.leave(who)
    gate.enter(who, clock.monotonic())


@pytest.mark.parametrize(("requests", "least", "expected"), [(60, 1000, 60 << 20), (1, 2 << 20, 2 << 20)])
def test_bytes_a_minute_follow_from_the_plans_requests_and_have_a_least(
    clock: ManualClock, requests: int, least: int, expected: int
) -> None:
    gate = Gate(MemoryQuotas(clock), least_bytes_per_minute=least)
    limits = gate.enter(principal(plan=plan(requests=requests)), clock.monotonic())
    limits.bytes.take(expected, clock.monotonic())
    with pytest.raises(RateLimited, match="bytes per minute for this organisation"):
        limits.bytes.take(1, clock.monotonic())


def test_the_keys_of_an_organisation_share_its_limits(gate: Gate, clock: ManualClock) -> None:
    shared = plan(requests=3, concurrency=10)
    for key_id in ("key_1", "key_2", "key_3"):
        gate.admit(principal(key_id, plan=shared), SMALL, clock.monotonic())
    assert "organisation" in refusal(gate, principal("key_4", plan=shared), SMALL, clock).message
    gate.admit(principal("key_5", "org_2", shared), SMALL, clock.monotonic())


def test_a_keys_own_limits_narrow_those_of_the_organisation(gate: Gate, clock: ManualClock) -> None:
    narrow, free = principal("key_1", requests_per_minute=1, tokens_per_minute=50), principal("key_2")
    gate.admit(narrow, demand(5, 15), clock.monotonic())
    found = headers(gate.header_block(narrow, clock.monotonic()))
    assert (found["x-ratelimit-limit-requests"], found["x-ratelimit-limit-tokens"]) == ("1", "50")
    assert (found["x-ratelimit-remaining-requests"], found["x-ratelimit-remaining-tokens"]) == ("0", "30")
    assert "API key" in refusal(gate, narrow, SMALL, clock).message
    assert remaining(gate, free, clock) == (59, 980)  # the refused one took nothing of the organisation's


def test_the_organisation_can_be_the_narrower_one(gate: Gate, clock: ManualClock) -> None:
    who = principal(plan=plan(requests=2), requests_per_minute=100)
    gate.admit(who, SMALL, clock.monotonic())
    assert headers(gate.header_block(who, clock.monotonic()))["x-ratelimit-limit-requests"] == "2"


def test_a_key_without_the_scope_is_refused(gate: Gate, clock: ManualClock) -> None:
    error = refusal(gate, principal(scopes=frozenset({Scope.USAGE_READ})), SMALL, clock)
    assert isinstance(error, PermissionDenied)
    assert "inference" in error.message
    gate.admit(principal("key_2", scopes=frozenset({Scope.ADMIN})), SMALL, clock.monotonic())


def test_a_tier_outside_the_plan_is_refused(gate: Gate, clock: ManualClock) -> None:
    assert isinstance(refusal(gate, principal(), demand(service_tier="priority"), clock), PermissionDenied)
    assert isinstance(refusal(gate, principal(), demand(service_tier="gold"), clock), BadRequest)
    assert gate.admit(principal(), demand(service_tier="flex"), clock.monotonic()).pool is Pool.OVERFLOW


class NoFunToday:
    """A guard that refuses everything."""

    def __init__(self) -> None:
        self.asked = 0

    def admit(self, who: Principal, what: Demand, now: float, /) -> Hold | None:
        self.asked += 1
        raise ResourceUnavailable("not today")


def test_the_order_of_the_steps(clock: ManualClock) -> None:
    """Each request fails at one step and would fail at all later ones too: the earlier step answers."""
    guard = NoFunToday()
    gate = Gate(MemoryQuotas(clock), (guard,))
    none = plan(requests=0, tokens=0, concurrency=0)
    no_scope = principal("key_1", plan=none, scopes=frozenset())
    assert "scope" in refusal(gate, no_scope, demand(service_tier="priority"), clock).message
    everything = principal("key_2", plan=none)
    assert "service_tier" in refusal(gate, everything, demand(service_tier="priority"), clock).message
    assert "same time" in refusal(gate, everything, demand(), clock).message
    roomy = principal("key_3", plan=plan(requests=0, tokens=0))
    assert "requests per minute" in refusal(gate, roomy, demand(), clock).message
    assert guard.asked == 0
    roomier = principal("key_4", "org_2", plan=plan(tokens=0))
    assert isinstance(refusal(gate, roomier, demand(), clock), ResourceUnavailable)
    assert (guard.asked, remaining(gate, roomier, clock)[0]) == (1, 59)


def test_who_is_refused_by_tokens_has_made_a_request(gate: Gate, clock: ManualClock) -> None:
    who = principal()
    refusal(gate, who, demand(5000, 1), clock)
    assert (remaining(gate, who, clock), gate.in_flight(who)) == ((59, 1000), 0)


def test_who_is_refused_by_requests_is_not_punished(gate: Gate, clock: ManualClock) -> None:
    who = principal(plan=plan(requests=1))
    gate.admit(who, SMALL, clock.monotonic())
    for _ in range(100):
        refusal(gate, who, SMALL, clock)
    clock.advance(60.001)
    gate.admit(who, SMALL, clock.monotonic())


def test_an_edited_plan_takes_effect_and_running_requests_go_on_counting(gate: Gate, clock: ManualClock) -> None:
    running = [gate.admit(principal(), SMALL, clock.monotonic()) for _ in range(3)]
    edited = principal(plan=plan(requests=1000, concurrency=3))
    assert "same time" in refusal(gate, edited, SMALL, clock).message
    for admission in running:
        admission.settle_tokens(TokenCount(2, 0))
    assert gate.in_flight(edited) == 0
    gate.admit(edited, SMALL, clock.monotonic())
    assert headers(gate.header_block(edited, clock.monotonic()))["x-ratelimit-limit-requests"] == "1000"


def test_the_header_block(gate: Gate, clock: ManualClock) -> None:
    admission = gate.admit(principal(), demand(100, 400), clock.monotonic())
    assert admission.header_block(clock.monotonic()) == (
        b"x-ratelimit-limit-requests: 60\r\n"
        b"x-ratelimit-remaining-requests: 59\r\n"
        b"x-ratelimit-reset-requests: 1s\r\n"
        b"x-ratelimit-limit-tokens: 1000\r\n"
        b"x-ratelimit-remaining-tokens: 500\r\n"
        b"x-ratelimit-reset-tokens: 30s\r\n"
        b'ratelimit-policy: "requests";q=60;w=60, "tokens";q=1000;w=60\r\n'
        b'ratelimit: "requests";r=59;t=1, "tokens";r=500;t=30\r\n'
    )


def test_limits_of_forgotten_keys_do_not_pile_up(clock: ManualClock) -> None:
    gate = Gate(MemoryQuotas(clock), capacity=10)
    busy = principal("busy", plan=plan(requests=10_000, tokens=10**6))
    held = gate.admit(busy, SMALL, clock.monotonic())
    for number in range(100):
        gate.admit(replace(busy, actor=KeyActor(f"key_{number}")), SMALL, clock.monotonic()).settle_tokens(TokenCount(2, 0))
    assert gate.in_flight(busy) == 1
    held.settle_tokens(TokenCount(2, 0))
    assert gate.in_flight(busy) == 0
    assert gate.known_keys <= 11


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 500), st.booleans()), max_size=60))
def test_at_one_instant_tokens_in_use_and_used_never_pass_the_limit(steps: list[tuple[int, int, bool]]) -> None:
    clock = ManualClock()
    gate = Gate(MemoryQuotas(clock))
    who = principal(plan=plan(requests=1000, tokens=1000, concurrency=1000))
    open_now: list[Admission] = []
    used = 0
    for wanted, spent, finish in steps:
        try:
            open_now.append(gate.admit(who, demand(0, wanted), clock.monotonic()))
        except RateLimited:
            assert used + sum(admission.reserved_tokens for admission in open_now) + wanted > 1000
        if finish and open_now:
            admission = open_now.pop(0)
            total = min(spent, admission.reserved_tokens)
            admission.settle_tokens(TokenCount(total, 0))
            used += total
        reserved = sum(admission.reserved_tokens for admission in open_now)
        assert remaining(gate, who, clock)[1] == 1000 - used - reserved
        assert gate.in_flight(who) == len(open_now)
