"""What users write."""

from collections.abc import Iterator
from typing import Any

import pytest

import penstock
from penstock.processes.runner import functions


@pytest.fixture(autouse=True)
def nothing_registered() -> Iterator[None]:
    before = dict(functions.REGISTERED)
    functions.REGISTERED.clear()
    yield
    functions.REGISTERED.clear()
    functions.REGISTERED.update(before)


def test_registered_function_stays_callable() -> None:
    @penstock.task(queue="low")
    def double(n: int) -> int:
        return 2 * n

    assert double(4) == 8
    assert functions.REGISTERED["double"].queue == "low"


def test_two_functions_cannot_have_one_name() -> None:
    penstock.task("same")(lambda: 1)
    with pytest.raises(ValueError, match="two functions are registered as 'same'"):
        penstock.task("same")(test_registered_function_stays_callable)


@pytest.mark.parametrize("wrong", [{"priority": 0}, {"priority": 11}, {"max_attempts": 0}, {"timeout_seconds": 0}])
def test_invalid_defaults_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        penstock.task("x", **wrong)


@pytest.mark.parametrize("delay", [-1, 1e12])
def test_invalid_retry_delay_is_refused(delay: float) -> None:
    with pytest.raises(ValueError, match="delay"):
        penstock.RetryLater(delay)


def test_progress_and_current_do_nothing_outside_a_runner() -> None:
    penstock.progress({"percent": 5})
    assert penstock.current() is None
