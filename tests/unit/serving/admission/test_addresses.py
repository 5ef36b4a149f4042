"""Limits by client address."""

import pytest

from penstock.domain.clock import ManualClock
from penstock.domain.errors import RateLimited
from penstock.serving.admission.addresses import AddressLimiter
from penstock.serving.admission.networks import Networks, subject


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
    subject.cache_clear()
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


@pytest.mark.parametrize(("authenticated", "what"), [(True, "calls"), (False, "calls without a valid API key")])
def test_refusal_says_which_calls_were_too_many(clock: ManualClock, authenticated: bool, what: str) -> None:
    limiter = AddressLimiter(clock, unauthenticated_per_minute=1, api_per_minute=1)
    limiter.check("192.0.2.1", authenticated)
    with pytest.raises(RateLimited) as refusal:
        limiter.check("192.0.2.1", authenticated)
    assert str(refusal.value) == f"Too many {what} from this address."


def test_addresses_of_both_budgets_are_counted(clock: ManualClock) -> None:
    limiter = AddressLimiter(clock)
    limiter.check("192.0.2.1", True)
    limiter.check("192.0.2.1", False)
    limiter.check("192.0.2.2", False)
    assert len(limiter) == 3


def test_limit_of_zero_or_one_lets_one_call_a_minute_through(clock: ManualClock) -> None:
    for per_minute in (0, 1):
        limiter = AddressLimiter(clock, unauthenticated_per_minute=per_minute)
        assert allowed(limiter, "192.0.2.1") == 1
        clock.advance(59.0)
        assert allowed(limiter, "192.0.2.1") == 0
        clock.advance(1.0)
        assert allowed(limiter, "192.0.2.1") == 1


def test_address_that_is_refused_stays_remembered_before_quieter_ones(clock: ManualClock) -> None:
    limiter = AddressLimiter(clock, unauthenticated_per_minute=1, capacity=2)
    assert allowed(limiter, "192.0.2.1") == 1
    limiter.check("192.0.2.2", False)
    assert allowed(limiter, "192.0.2.1") == 0, "refused, and by that the most recent"
    limiter.check("192.0.2.3", False)
    assert allowed(limiter, "192.0.2.1") == 0
    assert allowed(limiter, "192.0.2.2") == 1, "the quietest one was forgotten"


def test_limits_are_120_calls_without_a_key_and_1200_with_one_unless_set(clock: ManualClock) -> None:
    limiter = AddressLimiter(clock)
    assert (allowed(limiter, "192.0.2.1"), allowed(limiter, "192.0.2.1", authenticated=True)) == (120, 1200)


def test_network_is_read_with_host_bits_and_knows_its_addresses() -> None:
    networks = Networks(["192.0.2.77/24", "2001:db8::/32"])
    assert "192.0.2.1" in networks
    assert "::ffff:192.0.2.1" in networks
    assert "2001:db8::5" in networks
    assert "198.51.100.1" not in networks
    assert "a socket" not in networks


def test_network_remembers_256_answers_and_forgets_the_oldest() -> None:
    networks = Networks(["10.0.0.0/8"])
    for number in range(256):
        assert f"10.0.0.{number}" in networks
    assert len(networks._known) == 256
    assert "192.0.2.1" not in networks
    assert (len(networks._known), "10.0.0.0" in networks._known, networks._known["192.0.2.1"]) == (256, False, False)
    assert "10.0.0.1" in networks._known


def test_address_that_comes_again_stays_remembered_before_quieter_ones(clock: ManualClock) -> None:
    limiter = AddressLimiter(clock, unauthenticated_per_minute=3, capacity=2)
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.3"):
        limiter.check(address, False)
    assert allowed(limiter, "192.0.2.1") == 1


# --- keys that were never seen, and passwords ---


def test_unseen_good_key_is_looked_up_after_many_wrong_ones_and_costs_nothing(clock: ManualClock) -> None:
    limiter = AddressLimiter(clock, unauthenticated_per_minute=10)
    for _ in range(300):
        limiter.begin_lookup("192.0.2.1")
    assert allowed(limiter, "192.0.2.1") == 10
    for _ in range(1000):
        limiter.begin_lookup("192.0.2.1")
        limiter.end_lookup("192.0.2.1")
    for _ in range(200):
        limiter.begin_lookup("192.0.2.1")
    with pytest.raises(RateLimited, match="unknown API keys"):
        limiter.begin_lookup("192.0.2.1")


def failed_sign_ins(limiter: AddressLimiter, account: str, *addresses: str) -> int:
    """How many are let through, one from each address."""
    for number, address in enumerate(addresses):
        try:
            limiter.begin_sign_in(address, account)
        except RateLimited:
            return number
    return len(addresses)


MANY = [f"198.51.{number // 250}.{number % 250}" for number in range(300)]


def test_guesses_at_one_account_from_many_addresses_are_limited(clock: ManualClock) -> None:
    limiter = AddressLimiter(clock, sign_ins_per_minute=20)
    assert failed_sign_ins(limiter, "admin@penstock.test", *MANY) == 20
    assert failed_sign_ins(limiter, "Admin@Penstock.Test", *MANY) == 0, "in whatever letters"
    assert failed_sign_ins(limiter, "another@penstock.test", *MANY) == 20
    clock.advance(60.0)
    assert failed_sign_ins(limiter, "admin@penstock.test", *MANY) == 20


def test_address_that_signed_in_before_is_not_locked_out_by_guesses_from_elsewhere(clock: ManualClock) -> None:
    limiter = AddressLimiter(clock, sign_ins_per_minute=20)
    limiter.begin_sign_in("192.0.2.1", "admin@penstock.test")
    limiter.end_sign_in("192.0.2.1", "admin@penstock.test")
    failed_sign_ins(limiter, "admin@penstock.test", *MANY)
    limiter.begin_sign_in("192.0.2.1", "admin@penstock.test")
    with pytest.raises(RateLimited, match="of this account"):
        limiter.begin_sign_in("192.0.2.2", "admin@penstock.test")


def test_guesses_from_one_address_are_limited_whatever_the_account(clock: ManualClock) -> None:
    limiter = AddressLimiter(clock, unauthenticated_per_minute=5)
    for number in range(5):
        limiter.begin_sign_in("192.0.2.1", f"user{number}@penstock.test")
    with pytest.raises(RateLimited, match="from this address"):
        limiter.begin_sign_in("192.0.2.1", "admin@penstock.test")
    assert allowed(limiter, "192.0.2.1") == 5, "wrong keys are counted apart"


def test_right_passwords_cost_nothing(clock: ManualClock) -> None:
    limiter = AddressLimiter(clock, unauthenticated_per_minute=5, sign_ins_per_minute=2)
    for _ in range(100):
        limiter.begin_sign_in("192.0.2.1", "admin@penstock.test")
        limiter.end_sign_in("192.0.2.1", "admin@penstock.test")


def test_sign_in_that_an_account_refuses_costs_its_address_nothing(clock: ManualClock) -> None:
    limiter = AddressLimiter(clock, unauthenticated_per_minute=30, sign_ins_per_minute=1)
    limiter.begin_sign_in("192.0.2.9", "admin@penstock.test")
    for _ in range(100):
        with pytest.raises(RateLimited, match="of this account"):
            limiter.begin_sign_in("192.0.2.1", "admin@penstock.test")
