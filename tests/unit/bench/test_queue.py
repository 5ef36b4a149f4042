"""The measurements of the fair queue run, and tell what they claim to tell."""

from bench import policy_effects, queue_decision
from penstock.catalog.policy_document import parse


def test_a_decision_is_timed_among_few() -> None:
    cost = queue_decision.cost(10, samples=2)
    assert (cost.waiting, cost.decision >= cost.best_decision > 0, cost.join > 0, cost.settle > 0) == (10, True, True, True)


def test_every_variation_is_a_policy_and_an_overload_is_felt_by_class() -> None:
    for values in policy_effects.VARIATIONS.values():
        parse(values)
    found = policy_effects.effect("as installed", {}, seeds=1, load=1.5)
    assert found.classes["enterprise"].served == 1.0
    assert found.classes["free"].served < found.classes["premium"].served
    assert sum(found.shed.values()) > 0
