"""Every engine on disk is under test."""

from penstock.compute.engines import ENGINES
from tests.contract.compute.engines.subjects import SUBJECTS


def test_every_engine_has_a_subject() -> None:
    assert sorted(SUBJECTS) == ENGINES.names()
