"""What an upstream allows in a minute."""

import pytest

from penstock.domain.workers import PLAIN_ACCESS, UpstreamAccess
from penstock.serving.routing.upstream_rate import UpstreamRate, rate_of


def test_requests_of_a_minute_pass_and_the_next_one_waits_its_turn() -> None:
    rate = UpstreamRate(3, None, 0.0)
    assert [rate.sent(0, 0.0) for _ in range(3)] == [0.0, 0.0, 20.0]
    assert rate.sent(0, 20.0) == pytest.approx(20.0)
    assert rate.sent(0, 90.0) == 0.0


def test_tokens_run_over_and_come_back() -> None:
    rate = UpstreamRate(None, 600, 0.0)
    assert rate.sent(100, 0.0) == 0.0
    assert rate.used(700, 0.0) == pytest.approx(20.0)
    assert rate.used(-100, 0.0) == pytest.approx(10.0)
    assert rate.used(0, 10.0) == 0.0


def test_counter_of_an_edited_record_goes_on_unless_its_limits_changed() -> None:
    limited = UpstreamAccess(requests_per_minute=3)
    rate = rate_of(limited, None, 0.0)
    assert rate is not None
    assert rate_of(limited, rate, 1.0) is rate
    assert rate_of(UpstreamAccess(requests_per_minute=4), rate, 1.0) is not rate
    assert rate_of(PLAIN_ACCESS, rate, 1.0) is None
