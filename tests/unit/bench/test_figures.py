from bench.figures import Measurement, Spread, percentile, ratios, void_reason


def measured(per_second: float, void: str = "") -> Measurement:
    return Measurement(per_second, p50_ms=1, p99_ms=2, cpu_us=30, void=void)


def test_percentiles_are_of_the_nearest_rank() -> None:
    values = [4.0, 1.0, 3.0, 2.0]
    assert [percentile(values, share) for share in (0.0, 0.25, 0.5, 0.99, 1.0)] == [1, 1, 2, 4, 4]


def test_a_spread_holds_the_median_and_the_ends() -> None:
    assert Spread.of([3, 1, 10]) == Spread(median=3, low=1, high=10)
    assert Spread.of([]) is None


def test_ratios_are_taken_within_a_round() -> None:
    """The second round was slow for both: their ratio is as it was."""
    assert ratios([measured(60), measured(30)], [measured(100), measured(50)]) == Spread(0.6, 0.6, 0.6)


def test_rounds_that_say_nothing_are_left_out_of_ratios() -> None:
    ours, theirs = [measured(60), measured(10), measured(90)], [measured(100), measured(50, void="bad"), measured(100)]
    assert ratios(ours, theirs) == Spread(0.75, 0.6, 0.9)
    assert ratios([measured(1, void="bad")], [measured(1)]) is None
    assert ratios([measured(1)], [measured(0)]) is None


def test_a_contender_at_its_own_limit_is_measured() -> None:
    assert void_reason(bad=0, own_cores=0.99, upstream_cores=0.99, generator_cores=0.99) == ""
    assert void_reason(bad=0, own_cores=0.5, upstream_cores=0.7, generator_cores=0.7) == ""


def test_busy_helper_beside_an_idle_contender_voids_the_figure() -> None:
    assert "the upstream was the limit (0.97 cores, the contender 0.60)" in void_reason(0, 0.6, 0.97, 0.2)
    assert "the load generator was the limit" in void_reason(0, 0.6, 0.2, 0.97)


def test_bad_answers_say_nothing_about_speed() -> None:
    assert void_reason(bad=3, own_cores=0.99, upstream_cores=0.1, generator_cores=0.1) == "3 bad answers"
