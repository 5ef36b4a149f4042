"""Costs: exact integers, rounded half up once."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.domain.models import Price
from penstock.domain.principal import ServiceTier
from penstock.domain.tokens import TokenCount
from penstock.domain.usage import Outcome, UsageRecord
from penstock.serving.usage.pricing import cost_micros, repriced, tier_percent

prices = st.builds(
    Price,
    input_per_million=st.integers(0, 10**9),
    cached_input_per_million=st.none() | st.integers(0, 10**9),
    output_per_million=st.integers(0, 10**9),
    priority_percent=st.integers(0, 1000),
    flex_percent=st.integers(0, 100),
)
counts = st.integers(0, 10**7)
tiers = st.sampled_from(ServiceTier)


def test_a_bill_by_hand() -> None:
    """0.15 and 0.60 dollars a million: 1,000 in (400 of them cached at half price) and 500 out."""
    price = Price(input_per_million=150_000, cached_input_per_million=75_000, output_per_million=600_000)
    tokens = TokenCount(prompt=1000, completion=500, cached=400)
    assert cost_micros(price, "default", tokens) == 90 + 30 + 300
    assert cost_micros(price, "priority", tokens) == 735
    assert cost_micros(price, "flex", tokens) == 210
    assert cost_micros(price, "scale", tokens) == 420
    assert cost_micros(price, "default", tokens, True) == cost_micros(price, "priority", tokens, True) == 210


@pytest.mark.parametrize(("tokens", "micros"), [(0, 0), (1, 0), (49, 0), (50, 1), (149, 1), (150, 2)])
def test_half_a_micro_unit_is_rounded_up(tokens: int, micros: int) -> None:
    assert cost_micros(Price(input_per_million=10_000), "default", TokenCount(tokens, 0)) == micros


@given(prices, tiers, counts, counts, counts)
def test_it_equals_decimal_arithmetic(price: Price, tier: ServiceTier, prompt: int, cached: int, completion: int) -> None:
    cached = min(cached, prompt)
    cached_price = price.input_per_million if price.cached_input_per_million is None else price.cached_input_per_million
    exact = Decimal((prompt - cached) * price.input_per_million + cached * cached_price + completion * price.output_per_million)
    exact *= Decimal(tier_percent(price, tier)) / 100
    rounded = (exact / 1_000_000).quantize(Decimal(1), ROUND_HALF_UP)
    assert cost_micros(price, tier, TokenCount(prompt, completion, cached)) == int(rounded)


@given(prices, tiers, counts, counts, counts)
def test_more_tokens_never_cost_less(price: Price, tier: ServiceTier, prompt: int, completion: int, more: int) -> None:
    less = cost_micros(price, tier, TokenCount(prompt, completion))
    assert less <= cost_micros(price, tier, TokenCount(prompt + more, completion))
    assert less <= cost_micros(price, tier, TokenCount(prompt, completion + more))


@given(prices, tiers, counts, counts)
def test_more_cached_than_prompt_tokens_earn_no_discount(price: Price, tier: ServiceTier, prompt: int, more: int) -> None:
    assert cost_micros(price, tier, TokenCount(prompt, 0, prompt + more)) == cost_micros(price, tier, TokenCount(prompt, 0, prompt))


def test_model_with_a_price_for_cached_tokens_alone_bills_those() -> None:
    price = Price(cached_input_per_million=2_000_000)
    assert cost_micros(price, "default", TokenCount(prompt=10, completion=5, cached=4)) == 8
    assert cost_micros(price, "default", TokenCount(prompt=10, completion=5, cached=0)) == 0


def test_model_with_a_price_for_output_alone_bills_that() -> None:
    price = Price(output_per_million=3_000_000)
    assert cost_micros(price, "default", TokenCount(prompt=10, completion=5, cached=4)) == 15


def test_model_with_cached_tokens_free_of_charge_bills_the_others() -> None:
    price = Price(input_per_million=2_000_000, cached_input_per_million=0)
    assert cost_micros(price, "default", TokenCount(prompt=10, completion=5, cached=4)) == 12


@given(tiers, counts)
def test_usage_without_a_price_costs_zero(tier: ServiceTier, tokens: int) -> None:
    assert cost_micros(Price(), tier, TokenCount(tokens, tokens)) == 0


RECOVERED = UsageRecord(
    request_id="req_1",
    org_id="org_1",
    key_id="key_1",
    model="m",
    operation="chat",
    service_tier="default",
    service_class="enterprise",
    worker_id="wrk_1",
    outcome=Outcome.RECOVERED,
    prompt_tokens=1000,
    completion_tokens=500,
    cached_tokens=400,
    reasoning_tokens=100,
    estimated=False,
    cost_micros=0,
    started_at=1.0,
    finished_at=2.0,
    ttft_ms=3.0,
    queue_ms=4.0,
    retries=0,
)


@pytest.mark.parametrize(
    ("service_class", "tier", "micros"),
    [
        ("enterprise", "default", 4200),
        ("enterprise", "priority", 6300),
        ("enterprise", "flex", 1680),
        ("batch", "default", 1260),
        ("batch", "priority", 1260),
    ],
)
def test_recovered_record_is_billed_for_its_tokens_at_its_tier_and_its_class(service_class: str, tier: str, micros: int) -> None:
    """By hand: 600 uncached tokens at 1.5, 400 cached ones at 0.75 and 500 of output at 6 micro-units are 4,200."""
    price = Price(1_500_000, 750_000, 6_000_000, priority_percent=150, flex_percent=40, batch_percent=30)
    record = replace(RECOVERED, service_class=service_class, service_tier=tier)
    assert repriced(record, price) == replace(record, cost_micros=micros, currency="USD")
