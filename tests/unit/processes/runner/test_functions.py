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


@pytest.mark.parametrize(
    "wrong",
    [
        {"priority": 0},
        {"priority": 11},
        {"max_attempts": 0},
        {"max_attempts": 1_001},
        {"timeout_seconds": 0},
        {"timeout_seconds": 1e9},
        {"queue": "no spaces"},
        {"retry_on": "ValueError"},
        {"retry_on": (ValueError, 5)},
        {"backoff": -1},
        {"backoff": (5, 2)},
        {"max_tasks_per_child": 0},
    ],
    ids=str,
)
def test_invalid_defaults_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        penstock.task("x", **wrong)


@pytest.mark.parametrize("delay", [-1, 1e12])
def test_invalid_retry_delay_is_refused(delay: float) -> None:
    with pytest.raises(ValueError, match="delay"):
        penstock.RetryLater(delay)


@pytest.mark.parametrize("name", ["", "x" * 191, "a\x00b"], ids=["empty", "long", "nul"])
def test_invalid_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a name has"):
        penstock.task(name)(test_invalid_name_is_refused)


def test_decorator_without_arguments_registers_under_the_own_name() -> None:
    @penstock.task
    def double(n: int) -> int:
        return 2 * n

    assert double(4) == 8
    assert functions.REGISTERED["double"].run(4) == 8
    assert double.task_name == "double"


@pytest.mark.parametrize(
    ("backoff", "seconds"), [(None, (None, None)), (2, (2.0, None)), ((2, 60), (2.0, 60.0))], ids=["none", "first", "first and most"]
)
def test_backoff_of_the_decorator_is_a_default_of_its_tasks(backoff: Any, seconds: tuple[float | None, float | None]) -> None:
    penstock.task("x", backoff=backoff)(test_registered_function_stays_callable)
    found = functions.REGISTERED["x"]
    assert (found.backoff_seconds, found.backoff_cap_seconds) == seconds


def test_progress_and_current_do_nothing_outside_a_runner() -> None:
    penstock.progress({"percent": 5})
    assert penstock.current() is None
