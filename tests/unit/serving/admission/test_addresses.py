"""Limits by client address."""

import pytest

from penstock.domain.clock import ManualClock
from penstock.domain.errors import RateLimited
from penstock.serving.admission.addresses import AddressLimiter
from penstock.serving.admission.networks import subject


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def allowed(limiter: AddressLimiter, address: str, *, authenticated: bool = False) -> int:
    """How many calls in a row are let through."""
    for number in range(10_000):
        try:
            limiter.check(address, authenticated)
        except RateLimited:
            return number
    return 10_000


def test_each_budget_is_a_minute_at_once(clock: ManualClock) -> None:
    limiter = AddressLimiter(clock, unauthenticated_per_minute=3, api_per_minute=7)
    assert allowed(limiter, "192.0.2.1") == 3
    assert allowed(limiter, "192.0.2.1", authenticated=True) == 7
    assert allowed(limiter, "192.0.2.2") == 3


def test_the_wait_is_enough(clock: ManualClock) -> None:
    limiter = AddressLimiter(clock, unauthenticated_per_minute=120)
    assert allowed(limiter, "192.0.2.1") == 120
    with pytest.raises(RateLimited) as refusal:
        limiter.check("192.0.2.1", False)
    assert refusal.value.retry_after_seconds == pytest.approx(0.5, abs=1e-3)
    clock.advance(0.5)
    assert allowed(limiter, "192.0.2.1") == 1
    clock.advance(3600)
    assert allowed(limiter, "192.0.2.1") == 120


def test_an_ipv6_client_counts_as_its_64(clock: ManualClock) -> None:
    limiter = AddressLimiter(clock, unauthenticated_per_minute=4)
    assert allowed(limiter, "2001:db8:0:1::1") == 4
    assert allowed(limiter, "2001:db8:0:1:ffff::2") == 0
    assert allowed(limiter, "2001:db8:0:2::1") == 4


@pytest.mark.parametrize(
    ("address", "whom"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("a socket", "a socket"),
    ],
)
def test_whom_an_address_stands_for(address: str, whom: str) -> None:
    assert subject(address) == whom


def test_memory_is_bounded_and_the_recent_are_remembered(clock: ManualClock) -> None:
    limiter = AddressLimiter(clock, unauthenticated_per_minute=2, capacity=100)
    for number in range(99):
        limiter.check(f"192.0.2.{number}", False)
    assert allowed(limiter, "192.0.2.0") == 1  # seen again: now the most recent
    for number in range(50):
        limiter.check(f"198.51.100.{number}", False)
    assert len(limiter) == 100
    assert allowed(limiter, "192.0.2.0") == 0
    assert allowed(limiter, "192.0.2.1") == 2  # forgotten
