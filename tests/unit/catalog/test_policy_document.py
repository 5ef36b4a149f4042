"""The policy as a document: what is validated when it is read, and what is not when a stored one is written out."""

import pytest

from penstock.catalog.policy_changes import changes, written
from penstock.catalog.policy_document import PolicyProblem, document_of, parse
from penstock.domain.policy import Policy, RoutingPolicy
from penstock.domain.principal import Plan, ServiceClass, ServiceTier

PLAN = Plan("silver", ServiceClass.PREMIUM, ServiceTier.DEFAULT, (ServiceTier.DEFAULT,), 10, 1000, 2)
MISSING = RoutingPolicy("installed_elsewhere", "also_missing")


def test_written_policy_is_read_as_the_same_policy() -> None:
    policy = Policy(plans=(PLAN,), tenant_weights={"org_x": 2.0}, routing=RoutingPolicy("round_robin"), preempt_batch=False)
    assert parse(written(policy)) == policy


def test_stored_policy_with_a_missing_routing_policy_is_written_out_with_its_name() -> None:
    document = document_of(Policy(routing=MISSING, models={"m": MISSING}))
    values = document.model_dump(mode="json", by_alias=True)
    assert values["routing"] == values["models"]["m"] == {"policy": "installed_elsewhere", "shadow": "also_missing"}


def test_changes_from_a_missing_routing_policy_are_listed() -> None:
    assert [str(each) for each in changes(Policy(routing=RoutingPolicy("installed_elsewhere")), Policy())] == [
        "- routing.policy = installed_elsewhere"
    ]


def test_document_with_a_missing_routing_policy_is_refused() -> None:
    with pytest.raises(PolicyProblem, match=r"^routing: A routing policy is one of: "):
        parse({"routing": {"policy": "installed_elsewhere"}})
