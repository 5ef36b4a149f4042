from bench.contenders import CONTENDERS
from bench.figures import Measurement
from bench.race import REQUESTS, STREAMS, Results, latency_section, section


def rounds(*per_second: float, void: str = "") -> list[Measurement]:
    return [Measurement(each, p50_ms=1, p99_ms=2, cpu_us=40, void=void) for each in per_second]


def results(kind: str, **of: list[Measurement]) -> Results:
    found = {name.replace("_", "-"): each for name, each in of.items()}
    return Results(kind, found, dict.fromkeys(found, 100.0), {})


def test_a_race_gives_ratios_and_figures() -> None:
    found = section(results(REQUESTS, nginx=rounds(100, 200), penstock=rounds(60, 120), vllm_router=rounds(30, 60)), "wrk")
    assert found.rows[1] == ("penstock", "90 (60-120)", "0.60", "2.00", "1.00", "2.00", "40.0", "100")
    assert found.figures == {"unary_vs_nginx": 0.6, "unary_vs_vllm_router": 2.0, "unary_cpu_us": 40}
    assert found.notes == ()


def test_a_missing_rival_leaves_its_goal_open() -> None:
    found = section(Results(STREAMS, {"penstock": rounds(60)}, {"penstock": 90.0}, {"nginx": "not installed"}), "wrk")
    assert found.rows == (("penstock", "60", "—", "—", "1.00", "2.00", "40.0", "90"),)
    assert found.figures == {"streams_vs_nginx": None}
    assert found.notes == ("nginx was left out: not installed",)


def test_void_rounds_and_a_heavy_generator_are_told_of() -> None:
    found = section(results(STREAMS, penstock=rounds(5, 6, void="the upstream was the limit"), nginx=rounds(9)), "built-in")
    assert found.rows[0][1] == "—"
    assert found.notes[0] == "penstock: 2 of 2 rounds void, the last because the upstream was the limit"
    assert "built-in generator" in found.notes[1]


def test_latency_is_the_difference_within_the_same_round() -> None:
    direct = [Measurement(1, p50_ms=0.1, p99_ms=1, cpu_us=1), Measurement(1, p50_ms=0.3, p99_ms=1, cpu_us=1)]
    slower = [Measurement(1, p50_ms=0.25, p99_ms=1, cpu_us=1), Measurement(1, p50_ms=0.45, p99_ms=1, cpu_us=1)]
    found = latency_section({"direct": direct, "penstock": slower})
    assert [row[-1] for row in found.rows] == ["—", "0.150"]
    assert found.figures["p50_added_ms"] is not None
    assert abs(found.figures["p50_added_ms"] - 0.15) < 1e-9


def test_penstock_is_among_the_contenders() -> None:
    assert {"nginx", "penstock", "vllm-router"} <= set(CONTENDERS)
