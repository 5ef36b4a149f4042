from bench import memory, startup
from bench.memory import Sample


def test_growth_counts_from_the_first_tenth() -> None:
    found = memory.section([Sample(0, 60), Sample(150, 90), Sample(600, 91), Sample(1000, 93)], requests=1000, bad=0)
    assert found.rows == (("at the start", "0", "60.0"), ("after a tenth", "150", "90.0"), ("at the end", "1,000", "93.0"))
    assert found.figures == {"rss_mb": 93, "rss_growth_mb": 3}
    assert found.notes == ()


def test_too_few_requests_or_bad_answers_decide_nothing() -> None:
    few = memory.section([Sample(0, 60), Sample(500, 90)], requests=1000, bad=0)
    assert (few.figures, few.notes) == ({"rss_mb": None, "rss_growth_mb": None}, ("only 500 requests in the time",))
    bad = memory.section([Sample(0, 60), Sample(1000, 90)], requests=1000, bad=7)
    assert (bad.figures["rss_mb"], bad.notes) == (None, ("7 bad answers",))


def test_no_samples_make_an_empty_table() -> None:
    found = memory.section([], requests=1000, bad=0, notes=("penstock was left out: nowhere",))
    assert found.rows[-1] == ("at the end", "—", "—")
    assert found.figures == {"rss_mb": None, "rss_growth_mb": None}


def test_waits_are_medians() -> None:
    found = startup.section([1.0, 1.2, 1.1], [2.0], [], ())
    assert [row[1] for row in found.rows] == ["1.10 (1.00-1.20)", "2.00", "—"]
    assert found.figures == {"ready_s": 1.1, "ready_workers_s": 2.0, "help_s": None}
