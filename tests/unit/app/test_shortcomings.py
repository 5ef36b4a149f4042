"""`/healthz` names models that are configured and that nobody can be served; `/readyz` does not care."""

from random import Random
from types import SimpleNamespace
from typing import Any, cast

from penstock.app.gateway.views import GatewayReadiness
from penstock.catalog.models import Catalogue
from penstock.domain.clock import ManualClock
from penstock.domain.models import ModelRecord, Price
from penstock.domain.workers import ModelOffer
from penstock.serving.routing.choice import RoutingPolicies
from penstock.serving.routing.worker_set import RoutingRules, WorkerSet
from tests.unit.app.worker_records import worker


def shortcomings(fleet: WorkerSet, *priced: str, held: bool = False) -> list[str]:
    deps = SimpleNamespace(workers=fleet, catalogue=Catalogue([ModelRecord(name, Price()) for name in priced]))
    unused = cast("Any", None)
    return GatewayReadiness(unused, unused, unused, cast("Any", deps), held=held).shortcomings()


def fleet_of(*ready: str, silent: tuple[str, ...] = (), private: tuple[str, ...] = ()) -> WorkerSet:
    fleet = WorkerSet(RoutingPolicies(Random(1)), RoutingRules(), ManualClock())
    for name in (*ready, *silent, *private):
        fleet.put(worker(f"wrk_{name}", models=(ModelOffer(name),), org_id="org_1" if name in private else None))
    for name in ready:
        fleet.alive(f"wrk_{name}")
    return fleet


def test_models_with_a_worker_are_no_shortcoming() -> None:
    assert shortcomings(fleet_of("small"), "small") == []


def test_priced_model_and_model_of_a_silent_worker_are_named() -> None:
    assert shortcomings(fleet_of("small", silent=("large",)), "embed") == [
        "no worker serves the model embed",
        "no worker serves the model large",
    ]


def test_model_that_may_sleep_is_no_shortcoming() -> None:
    fleet = fleet_of(silent=("large",))
    fleet.set_elastic("large")
    assert shortcomings(fleet, "large") == []


def test_model_of_an_organisation_is_not_named_to_strangers() -> None:
    assert shortcomings(fleet_of(private=("secret-model",))) == []


def test_held_installation_says_so() -> None:
    assert shortcomings(fleet_of(), held=True) == ["this installation was restored and is held: `penstock admin release` ends that"]
