"""Every engine on disk is under test."""

from penstock import family
from tests.contract.engines.subjects import SUBJECTS


def test_every_engine_has_a_subject() -> None:
    assert sorted(SUBJECTS) == family.names("penstock.engines")
