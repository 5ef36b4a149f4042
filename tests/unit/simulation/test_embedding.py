"""Vectors without a model."""

from array import array

from penstock.simulation.embedding import embed


def dot(one: bytes, other: bytes) -> float:
    return sum(a * b for a, b in zip(array("f", one), array("f", other), strict=True))


def test_similar_texts_are_nearer_than_others() -> None:
    question = embed("How deep is the river?", 256)
    assert dot(question, embed("how deep is this river", 256)) > 0.5 > dot(question, embed("stone market garden", 256))


def test_a_text_without_tokens_of_weight_still_has_a_direction() -> None:
    assert array("f", embed("", 2)).tolist() == [1.0, 0.0]
