"""The step on a virtual clock: short, as the whole of it takes minutes."""

import pytest

from bench.overload import traffic, virtual_step
from bench.overload.goals import BIN_SECONDS
from bench.overload.runs import STEP_AT, STEP_UNTIL


def test_a_step_fills_the_line_and_the_first_one_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_step, "STEPS", 2)
    given = traffic.trace(None)
    found = virtual_step.steps(given, 1, in_order=False)
    assert len(found) == 2
    for step in found:
        assert [one.at for one in step] == sorted(one.at for one in step)
        before = [one.of(("premium", "free")) for one in step if one.at < STEP_AT]
        after = [one.of(("premium", "free")) for one in step if one.at > STEP_AT + 2]
        assert max(before) < min(after)
    _, line = virtual_step.settled(found)
    assert len(line) == (STEP_UNTIL / BIN_SECONDS)


def test_the_same_seed_is_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_step, "STEPS", 1)
    given = traffic.trace(None)
    assert virtual_step.steps(given, 3, in_order=True) == virtual_step.steps(given, 3, in_order=True)
