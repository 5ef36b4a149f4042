"""Which routing policy a model gets: its own entry, and the general one for what that leaves out."""

import pytest

from penstock.domain.policy import Policy, RoutingPolicy

GENERAL = RoutingPolicy("power_of_two", "round_robin")


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (None, GENERAL),
        (RoutingPolicy("prefix_affinity", "least_requests"), RoutingPolicy("prefix_affinity", "least_requests")),
        (RoutingPolicy("prefix_affinity"), RoutingPolicy("prefix_affinity", "round_robin")),
        (RoutingPolicy(shadow="least_requests"), RoutingPolicy("power_of_two", "least_requests")),
    ],
)
def test_entry_of_a_model_comes_before_the_general_one(own: RoutingPolicy | None, expected: RoutingPolicy) -> None:
    policy = Policy(routing=GENERAL, models={} if own is None else {"m": own})
    assert (policy.routing_of("m"), policy.routing_of("other")) == (expected, GENERAL)
