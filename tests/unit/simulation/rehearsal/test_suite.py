"""The scenarios, a few seeds of each that are quick; all of them are `penstock simulate --suite all`, and `make soak` runs it."""

import math

import pytest

from penstock.simulation.rehearsal import suite
from penstock.simulation.rehearsal.figures import interval, jain, quantile
from penstock.simulation.rehearsal.report import page
from penstock.simulation.rehearsal.verdict import PassLine, Scenario, rehearse

QUICK = ("class_weights", "tenants", "starvation", "crash", "all_down", "from_zero", "autoscaling_from_zero")


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_the_quick_ones_meet_their_pass_lines(name: str) -> None:
    (scenario,) = suite.chosen([name])
    finding = rehearse(scenario, (1, 2), brief=True)
    assert finding.checks
    assert [check.name for check in finding.checks if not check.passed] == []


@pytest.mark.soak
@pytest.mark.parametrize("name", [one.name for one in suite.scenarios()])
def test_all_of_them_do(name: str) -> None:
    (scenario,) = suite.chosen([name])
    finding = rehearse(scenario, suite.SEEDS, jobs=2)
    assert [check for check in finding.checks if not check.passed] == []


def test_every_pass_line_has_a_name_of_its_own() -> None:
    names = [line.name for one in suite.scenarios() for line in one.lines]
    assert len(names) == len(set(names))


def test_who_asks_for_a_scenario_that_is_none_is_told_which_there_are() -> None:
    with pytest.raises(suite.UnknownScenario, match=r"nonsense.*class_weights"):
        suite.chosen(["nonsense"])


def test_a_missed_line_is_missed() -> None:
    figures = {1: {"a": 1.0, "b": 0.0}, 2: {"a": 3.0, "b": math.nan}}
    lines = (
        PassLine("mean", "a", "<=", 2.0),
        PassLine("every", "a", "<=", 2.0, "every"),
        PassLine("least", "a", ">=", 1.5, "every"),
        PassLine("zero", "b", "=", 0.0, "every"),
    )
    finding = rehearse(Scenario("s", "S", "about", lambda seed, brief: figures[seed], lines), (1, 2))
    assert [(check.name, check.passed, check.measured) for check in finding.checks] == [
        ("mean", True, 2.0),
        ("every", False, 3.0),
        ("least", False, 1.0),
        ("zero", True, 0.0),
    ]
    text, plots = page([finding], "penstock simulate")
    assert "| every | <= 2 in every seed | 3 ± 13 | **FAILED** |" in text
    assert plots == {}


@pytest.mark.slow
def test_seeds_in_processes_are_the_same_seeds() -> None:
    (scenario,) = suite.chosen(["class_weights"])
    assert rehearse(scenario, (1, 2), jobs=2).figures == rehearse(scenario, (1, 2), jobs=1).figures


def test_an_interval_is_students() -> None:
    found = interval([1.0, 2.0, 3.0, 4.0])
    assert (found.mean, found.least, found.worst) == (2.5, 1.0, 4.0)
    assert found.half == pytest.approx(3.182 * 1.2909944 / 2)
    assert interval([2.0]).half == 0.0


def test_quantiles_and_fairness() -> None:
    assert quantile(range(1, 101), 0.99) == 99
    assert math.isnan(quantile([], 0.5))
    assert jain([1.0, 1.0, 1.0]) == 1.0
    assert jain([3.0, 0.0, 0.0]) == pytest.approx(1 / 3)
