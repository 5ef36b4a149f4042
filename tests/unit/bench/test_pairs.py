"""The cost of two trees of sources: of the same tree twice it is about the same, and what cannot run is told."""

import sys
from pathlib import Path

import pytest

from bench.pairs import KINDS, Tree, main, ratios
from tests.support.sources import ROOT


@pytest.mark.slow
def test_a_tree_beside_itself() -> None:
    tree = Tree(ROOT, Path(sys.executable), compiled=False)
    found = ratios(tree, tree, pairs=2, samples=1)
    assert list(found) == list(KINDS)
    assert 0.1 < found["unary request"].mean < 10.0


def test_a_tree_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--against", str(tmp_path), "--pairs", "1", "--samples", "1"]) == 1
    assert "No module named" in capsys.readouterr().err
