"""A decorated function: still a function, and a way to submit it."""

import pickle
from typing import Any

import pytest

import penstock
from penstock.processes.runner.task_function import KeyRules, TaskFunction, payload_of


def _plain(text: str, width: int = 3, *, upper: bool = False) -> str:
    """Says it."""
    return f"{text}{width}{upper}"


doubled = TaskFunction(_plain, "plain-task")
doubled.__qualname__ = "doubled"


def test_a_task_function_is_called_like_the_function() -> None:
    assert doubled("a", upper=True) == "a3True"
    assert doubled.__doc__ == "Says it."
    assert doubled.__name__ == "_plain"


@pytest.mark.parametrize(
    ("args", "kwargs", "payload"),
    [
        (("a",), {}, ["a"]),
        (("a", 5), {}, ["a", 5]),
        ((), {"text": "a"}, {"text": "a"}),
        (("a",), {"upper": True}, {"text": "a", "upper": True}),
    ],
)
def test_arguments_become_a_payload(args: tuple[Any, ...], kwargs: dict[str, Any], payload: Any) -> None:
    assert payload_of(_plain, args, kwargs) == payload


def test_no_arguments_are_no_payload() -> None:
    assert payload_of(lambda: None, (), {}) is None


def test_more_keywords_are_flattened() -> None:
    def anything(first: int, **more: int) -> None: ...

    assert payload_of(anything, (1,), {"second": 2}) == {"first": 1, "second": 2}


def test_arguments_that_cannot_be_written_as_one_kind_are_refused() -> None:
    def mixed(first: int, /, second: int) -> None: ...

    with pytest.raises(TypeError, match="mixed: a task has positional or keyword arguments"):
        payload_of(mixed, (1,), {"second": 2})


def test_arguments_that_do_not_fit_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'text'"):
        doubled.request()  # type: ignore[call-arg]  # on purpose


def test_options_are_of_one_copy_and_checked() -> None:
    urgent = doubled.options(queue="high", priority=9)
    assert urgent.request("a").body() == {"kind": "function", "name": "plain-task", "payload": ["a"], "queue": "high", "priority": 9}
    assert doubled.request("a").body() == {"kind": "function", "name": "plain-task", "payload": ["a"]}
    with pytest.raises(TypeError, match="quue"):
        doubled.options(quue="high")


def test_a_task_function_is_pickled_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(doubled)) is doubled


def test_client_names_are_loaded_with_their_first_use() -> None:
    assert penstock.Client.__module__ == "penstock.net.api_client.client"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = penstock.nothing


def test_keys_are_made_of_the_arguments_of_each_call() -> None:
    rules = KeyRules(lambda text, **_: f"text-{text}", 2, "only-one")
    keyed = TaskFunction(_plain, "keyed", rules)
    body = keyed.request("a", upper=True).body()
    assert (body["concurrency_key"], body["max_running_per_key"], body["unique_key"]) == ("text-a", 2, "only-one")
    own = keyed.options(concurrency_key="mine").request("a").body()
    assert (own["concurrency_key"], own["unique_key"]) == ("mine", "only-one")


def test_key_that_is_not_a_text_is_refused() -> None:
    with pytest.raises(TypeError, match="a unique_key is a text, not 7"):
        TaskFunction(_plain, "keyed", KeyRules(unique_key=lambda text: 7)).request("a")  # type: ignore[arg-type,return-value]  # on purpose


def test_decorator_gives_keys_to_what_is_submitted() -> None:
    @penstock.task("by-account", concurrency_key=lambda account: f"account-{account}", max_running_per_key=3)
    def by_account(account: int) -> int:
        return account

    body = by_account.request(7).body()
    assert (body["concurrency_key"], body["max_running_per_key"]) == ("account-7", 3)
    with pytest.raises(ValueError, match="needs a concurrency_key"):
        penstock.task("alone", max_running_per_key=2)
