from bench.goals import GOALS, Check, Verdict, as_section, judge
from bench.section import Section


def section(**figures: float | None) -> Section:
    return Section("some", "Some", (), (), figures)


def test_only_measured_goals_are_judged_in_their_order() -> None:
    checks = judge([section(help_s=0.1), section(unary_vs_nginx=0.7, unary_cpu_us=60.0, unary_vs_vllm_router=None)])
    assert [(check.goal.name, check.verdict) for check in checks] == [
        ("requests/s ÷ nginx", Verdict.PASSED),
        ("requests/s ÷ vllm-router", Verdict.VOID),
        ("CPU per request", Verdict.FAILED),
        ("penstock --help", Verdict.PASSED),
    ]


def test_a_limit_itself_is_enough() -> None:
    assert [Check(goal, goal.limit).verdict for goal in GOALS.values()] == [Verdict.PASSED] * len(GOALS)


def test_goals_are_a_table() -> None:
    found = as_section([Check(GOALS["unary_cpu_us"], 41.234), Check(GOALS["streams_vs_nginx"], None)])
    assert found.rows == (("CPU per request", "41.2 us", "at most 50 us", "passed"), ("streams/s ÷ nginx", "—", "at least 0.9", "void"))
