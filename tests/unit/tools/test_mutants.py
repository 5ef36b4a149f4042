"""Which faults `tools/mutants.py` plants in a source, and that planting one changes what the source does."""

import ast
import textwrap

import pytest

from tools import mutants
from tools.mutants import Mutant


def found(source: str) -> list[Mutant]:
    return mutants.find(ast.parse(textwrap.dedent(source)))


def changes(source: str) -> list[str]:
    return [mutant.change for mutant in found(source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["a < b -> a <= b"]),
        ("a is None", ["a is None -> a is not None"]),
        ("a + b", ["a + b -> a - b"]),
        ("a // b", ["a // b -> a * b"]),
        ("a and b", ["a and b -> a or b", "a and b -> b", "a and b -> a"]),
        ("not a", ["not a -> a"]),
        ("x = 3", ["3 -> 4"]),
        ("x = True", ["True -> False"]),
        ("x = 'tier'", ["'tier' -> 'tier?'"]),
        ("x = min(a, b)", ["min(a, b) -> max(a, b)"]),
        ("x = f(a, b, c)", ["f(a, b, c) -> f(b, a, c)", "f(a, b, c) -> f(a, c, b)"]),
        ("x = f(retry=a)", ["f(retry=a) -> f()"]),
        ("x = f(a=b, c=d)", ["f(a=b, c=d) -> f(c=d)", "f(a=b, c=d) -> f(a=b)", "f(a=b, c=d) -> f(a=d, c=b)"]),
        ("x = f(a=b, c=b)", ["f(a=b, c=b) -> f(c=b)", "f(a=b, c=b) -> f(a=b)"]),
        ("x = f(a=b, **c)", ["f(a=b, **c) -> f(**c)"]),
        ("x = a if b else c", ["a if b else c -> c if b else a"]),
        ("f()", ["f() -> (nothing)"]),
        ("a.b = c", ["a.b = c -> (nothing)"]),
        ("a += b", ["a += b -> (nothing)"]),
        ("raise a", ["raise a -> (nothing)"]),
        ("if a:\n    x = b", ["if a -> if not a"]),
    ],
)
def test_statement_has_these_mutants(source: str, expected: list[str]) -> None:
    assert changes(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring."""',
        "x: Literal['a'] = y",
        "import a",
        "log.info('event', count=3)",
        "__slots__ = ('a', 'b')",
        "x = 'a message for people'",
        "x = f'{a} of {b}'",
        "x = a",
        "if TYPE_CHECKING:\n    x = 3",
    ],
)
def test_statement_has_no_mutant(source: str) -> None:
    assert changes(source) == []


SOURCE = """
class Bucket:
    size = 1

    def take(self, amount=2):
        def twice():
            return amount + 3
        return twice()
"""


def test_mutant_names_the_outermost_function_around_it() -> None:
    assert [(mutant.where, mutant.line, mutant.change) for mutant in found(SOURCE)] == [
        ("", 3, "1 -> 2"),
        ("", 5, "2 -> 3"),
        ("Bucket.take", 7, "return amount + 3 -> return None"),
        ("Bucket.take", 7, "amount + 3 -> amount - 3"),
        ("Bucket.take", 7, "3 -> 4"),
        ("Bucket.take", 8, "return twice() -> return None"),
    ]


def test_compiled_mutant_runs_with_its_fault_and_the_tree_stays_as_it_was() -> None:
    tree = ast.parse(SOURCE)
    before = ast.dump(tree)
    results = []
    for mutant in mutants.find(tree):
        names: dict[str, type] = {}
        exec(mutant.compiled(tree, "bucket.py"), names)
        bucket = names["Bucket"]
        results.append((bucket.size, bucket().take()))  # type: ignore[attr-defined]  # known to the source alone
    assert results == [(2, 5), (1, 6), (1, None), (1, -1), (1, 6), (1, None)]
    assert ast.dump(tree) == before


def test_mutants_that_read_the_same_are_numbered() -> None:
    names = [name for name, _ in mutants.named(found("def f():\n    g(1)\n    g(1)"))]
    assert names == ["f: g(1) -> (nothing)", "f: 1 -> 2", "f: g(1) -> (nothing) #2", "f: 1 -> 2 #2"]


def test_change_of_a_long_call_shows_where_it_differs() -> None:
    call = ", ".join(f"parameter_{number}=value_{number}" for number in range(20))
    swapped = changes(f"x = call({call})")[-1]
    before, after = swapped.split(" -> ")
    assert before.endswith("parameter_18=value_18, parameter_19=value_19)")
    assert after.endswith("parameter_18=value_19, parameter_19=value_18)")
    assert before.startswith("...")
    assert max(map(len, (before, after))) <= 160
