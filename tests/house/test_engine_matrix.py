"""The matrix of docs/reference/engines.md has these engines and these features. (`make matrix` finds out whether each cell still holds.)"""

import re

import pytest

from penstock.compute.engines import ENGINES
from tests.contract.compute.engines.subjects import LACKING, REFUSED
from tests.support.sources import ROOT, text
from tools import engine_matrix

SUITE = ROOT / "tests" / "contract" / "compute" / "engines"
WORDS = {"works", "passed on", "refused", "n/a"}


@pytest.fixture(scope="module")
def cells() -> dict[str, dict[str, str]]:
    return engine_matrix.cells(text(engine_matrix.PAGE))


def test_every_engine_has_a_column(cells: dict[str, dict[str, str]]) -> None:
    assert sorted(cells) == ENGINES.names()


def test_every_feature_of_the_suite_has_a_row_in_each(cells: dict[str, dict[str, str]]) -> None:
    marked = {name for path in SUITE.glob("*.py") for name in re.findall(r'mark\.feature\("([^"]+)"', text(path))}
    refused = {feature for features in REFUSED.values() for feature in features}
    for engine, row in cells.items():
        assert set(row) == marked | refused, engine
        assert set(row.values()) <= WORDS


def test_features_refused_or_absent_in_the_suite_are_so_in_the_matrix(cells: dict[str, dict[str, str]]) -> None:
    for engine, features in REFUSED.items():
        assert {cells[engine][feature] for feature in features} <= {"refused"}, engine
    for engine, lacking in LACKING.items():
        assert {cells[engine][feature] for feature in lacking & set(cells[engine])} <= {"n/a"}, engine


def test_a_suite_that_failed_is_not_written() -> None:
    with pytest.raises(ValueError, match="failed for sim: stop"):
        engine_matrix.table({"sim": {"stop": "failed"}})
