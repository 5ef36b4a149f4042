"""Tests that share what takes long to start stay in one process."""

from types import SimpleNamespace

import pytest

from tests.support.together import Together, group


def test_tests_that_share_what_is_slow_to_start_are_one_group() -> None:
    groups = {
        "tests/contract/compute/engines/test_cancel.py::test_one[vllm]": "engine vllm",
        "tests/contract/compute/engines/test_errors.py::test_two[sim-/nowhere-]": "engine sim",
        "tests/contract/compute/engines/test_ollama.py::test_three": "tests/contract/compute/engines/test_ollama.py",
        "tests/live/sdk/test_chat.py::test_four[relay]": "tests/live/sdk/",
        "tests/live/sdk/test_errors.py::test_five[sim-[x]]": "tests/live/sdk/",
        "tests/unit/wire/test_relay.py::Kind::test_six": "tests/unit/wire/test_relay.py",
    }
    assert {nodeid: group(nodeid) for nodeid in groups} == groups


class Node:
    """One process, which says what it is given."""

    shutting_down = False

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.given: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def test_each_group_goes_to_one_process_and_the_long_ones_first(pytestconfig: pytest.Config) -> None:
    tests = [f"tests/{name}.py::test_{number}" for name in ("unit/a", "flow/b", "live/c", "live/d") for number in range(4)]
    config = SimpleNamespace(getvalue=lambda _: ["popen", "popen"], option=SimpleNamespace(loadscopereorder=True))
    scheduler = Together(config, None)
    nodes = Node("left"), Node("right")
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, tests)
    scheduler.schedule()
    first = [{group(tests[index]) for index in node.given} for node in nodes]
    assert first == [{"tests/live/c.py"}, {"tests/live/d.py"}]
    for index in range(8, 11):
        scheduler.mark_test_complete(nodes[0], index)
    assert {group(tests[index]) for index in nodes[0].given} == {"tests/live/c.py", "tests/flow/b.py"}
