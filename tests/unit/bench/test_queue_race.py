"""What the race of queues makes of its laps."""

from pathlib import Path

from bench.queue.race import Laps, as_section, ratio
from bench.queue.rivals import CONTENDERS, PENSTOCK
from bench.stage import Options


def laps(*lives: float | None) -> Laps:
    found = Laps()
    for life in lives:
        found.add(None if life is None else {"life": life, "enqueue": 10_000, "start_p50": 1.5, "start_p99": 4})
    return found


def test_ratios_are_taken_within_a_round_and_a_round_that_failed_is_left_out() -> None:
    both = {PENSTOCK: laps(4000, 9000, 3000), "celery": laps(1000, None, 1500)}
    options = Options(3, 2, 1, 1, (), 1, Path("cache"), Path("penstock"))
    section = as_section(both, {"arq": "needs redis-server"}, options)
    assert section.columns[2] == "penstock ÷ it"
    assert section.rows == (
        (PENSTOCK, "4,000 (3,000-9,000)", "1.00", "10,000", "1.5", "4.0"),
        ("celery", "1,250 (1,000-1,500)", "3.00 (2.00-4.00)", "10,000", "1.5", "4.0"),
    )
    assert "without arq: needs redis-server" in section.notes
    assert ratio({"celery": laps(1)}, "celery") is None


def test_brokers_take_part_in_a_fast_and_in_a_durable_setting() -> None:
    for name in ("celery", "arq", "dramatiq"):
        assert {name, f"{name}, durable"} <= CONTENDERS.keys()
