"""Dependencies inside a submission."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.durable.tasks.specs import graph


def test_topological_order_puts_parents_before_children() -> None:
    order = graph.topological_order({0: [2], 1: [0, 2], 3: []}, 4, [None] * 4)
    assert order.index(2) < order.index(0) < order.index(1)
    assert sorted(order) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("parents", "shown"),
    [
        ({0: [0]}, "a -> a"),
        ({0: [1], 1: [0]}, "a -> b -> a"),
        ({2: [1], 1: [2, 3], 3: [2]}, "b -> c -> b"),
        ({0: [1], 1: [2], 2: [1]}, "b -> c -> b"),
    ],
)
def test_cycle_is_named_in_the_error(parents: dict[int, list[int]], shown: str) -> None:
    with pytest.raises(graph.DependencyCycle, match=f": {shown}\\."):
        graph.topological_order(parents, 4, ["a", "b", "c", "d"])


def test_long_cycle_is_shortened_in_the_error() -> None:
    count = 500
    with pytest.raises(graph.DependencyCycle, match=r"task 0 -> .* -> \.\.\. \(500 in all\) -> task 0"):
        graph.topological_order({index: [(index + 1) % count] for index in range(count)}, count, [None] * count)


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(st.just(n), st.dictionaries(st.integers(0, n - 1), st.lists(st.integers(0, n - 1), max_size=4)))
    )
)
def test_any_graph_has_an_order_or_a_true_cycle(given_graph: tuple[int, dict[int, list[int]]]) -> None:
    count, parents = given_graph
    try:
        order = graph.topological_order(parents, count, [f"t{index}" for index in range(count)])
    except graph.DependencyCycle as error:
        names = str(error).partition(": ")[2].rstrip(".").split(" -> ")
        if "..." not in str(error):
            walked = [int(name[1:]) for name in names]
            assert all(later in parents[earlier] for earlier, later in itertools.pairwise(walked))
        return
    where = {index: at for at, index in enumerate(order)}
    assert all(where[parent] < where[child] for child, its in parents.items() for parent in its)


def test_duplicate_ref_is_refused() -> None:
    with pytest.raises(graph.DuplicateName, match="'a': tasks 0 and 2"):
        graph.index_by_ref(["a", None, "a"])
