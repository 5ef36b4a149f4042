"""Health: who is believed to be fit, when a verdict is withheld, who rests and comes back, and who is told."""

from random import Random

import pytest

from penstock.domain.clock import ManualClock
from penstock.domain.workers import WorkerLoad, WorkerState
from penstock.serving.routing.choice import RoutingPolicies
from penstock.serving.routing.health import HealthRules
from penstock.serving.routing.member import IllegalMove, Member
from penstock.serving.routing.worker_set import RoutingRules, ServingKey, WorkerEvent, WorkerSet
from tests.unit.serving.routing.members import worker

READY, SUSPECT, DRAINING, DEAD = WorkerState.READY, WorkerState.SUSPECT, WorkerState.DRAINING, WorkerState.DEAD


class Watched:
    """A fleet, its clock, and all that it told."""

    def __init__(self, count: int, **rules: float) -> None:
        self.clock = ManualClock()
        self.fleet = WorkerSet(RoutingPolicies(Random(1)), RoutingRules(HealthRules(**rules)), self.clock)  # type: ignore[arg-type] # named fields
        self.events: list[WorkerEvent] = []
        self.changes: list[frozenset[ServingKey]] = []
        self.fleet.on_event = self.events.append
        self.fleet.on_change = self.changes.append
        self.members = [self.fleet.put(worker(f"w{number}")) for number in range(count)]
        for member in self.members:
            self.fleet.alive(member.id)

    def states(self) -> list[WorkerState]:
        return [member.state for member in self.members]

    def pass_time(self, seconds: float, *alive: Member) -> None:
        """Second by second, with signs of life of some."""
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            for member in alive:
                self.fleet.alive(member.id)
            self.fleet.sweep()

    def usable(self) -> set[str]:
        serving = self.fleet.serving("m", None)
        assert serving is not None
        return {member.id for member in serving._shared}


def test_a_worker_that_was_never_reached_gets_nothing() -> None:
    watched = Watched(1)
    watched.fleet.put(worker("new"))
    assert watched.usable() == {"w0"}
    assert set(watched.fleet.offers(None)) == {"m"}


def test_a_silent_worker_is_suspect_then_dead_and_comes_back_by_itself() -> None:
    watched = Watched(5)
    silent, *others = watched.members
    watched.pass_time(10, *others)
    assert silent.state is READY
    watched.pass_time(1, *others)
    assert (silent.state, watched.usable()) == (SUSPECT, {member.id for member in others})
    watched.pass_time(20, *others)
    assert silent.state is DEAD
    watched.fleet.alive(silent.id)
    assert (silent.state, len(watched.usable())) == (READY, 5)
    assert [event.what for event in watched.events if event.worker_id == silent.id] == ["ready", "suspect", "dead", "ready"]


def test_silent_workers_stay_suspect_when_over_a_third_vanish_together() -> None:
    watched = Watched(10)
    watched.pass_time(100, *watched.members[:6])
    assert watched.states() == [READY] * 6 + [SUSPECT] * 4
    for member in watched.members:
        watched.fleet.alive(member.id)
    assert watched.states() == [READY] * 10
    watched.pass_time(100, *watched.members[:7])
    assert watched.states() == [READY] * 7 + [DEAD] * 3


def test_a_lost_connection_counts_at_once_and_only_for_a_ready_one() -> None:
    watched = Watched(2)
    watched.fleet.lost("w0")
    assert (watched.states(), watched.usable()) == ([SUSPECT, READY], {"w1"})
    watched.fleet.lost("w0")
    watched.fleet.lost("nobody")
    watched.fleet.alive("w0")
    assert watched.usable() == {"w0", "w1"}


def test_a_draining_worker_gets_nothing_new_and_may_return() -> None:
    watched = Watched(2)
    watched.fleet.alive("w0", draining=True)
    assert (watched.states(), watched.usable()) == ([DRAINING, READY], {"w1"})
    watched.fleet.alive("w0")
    assert watched.usable() == {"w0", "w1"}


def test_five_failures_in_a_row_eject_and_time_heals() -> None:
    watched = Watched(3)
    member = watched.members[0]
    for _ in range(4):
        watched.fleet.failed(member)
    watched.fleet.succeeded(member)
    for _ in range(4):
        watched.fleet.failed(member)
    assert len(watched.usable()) == 3
    watched.fleet.failed(member)
    assert watched.usable() == {"w1", "w2"}
    watched.pass_time(29, *watched.members)
    assert watched.usable() == {"w1", "w2"}
    watched.pass_time(2, *watched.members)
    assert len(watched.usable()) == 3
    assert [event.what for event in watched.events[3:]] == ["ejected", "returned"]


def test_who_fails_again_rests_longer_until_it_has_been_well_for_a_while() -> None:
    watched = Watched(3)
    member = watched.members[0]
    rests = []
    for _ in range(3):
        for _ in range(5):
            watched.fleet.failed(member)
        rests.append(round(member.ejected_until - watched.clock.monotonic()))
        watched.pass_time(rests[-1] + 1, *watched.members)
        watched.fleet.succeeded(member)
    assert rests == [30, 60, 90]
    watched.pass_time(90, *watched.members)
    for _ in range(5):
        watched.fleet.failed(member)
    assert round(member.ejected_until - watched.clock.monotonic()) == 30


def test_ejection_of_a_failing_worker_lasts_at_most_five_minutes() -> None:
    watched = Watched(3)
    member = watched.members[0]
    for _ in range(12):
        for _ in range(5):
            watched.fleet.failed(member)
        rest = member.ejected_until - watched.clock.monotonic()
        watched.pass_time(rest + 1, *watched.members)
    assert round(rest) == 300


@pytest.mark.parametrize(("count", "most"), [(2, 1), (10, 1), (30, 3)])
def test_never_more_than_a_tenth_rest_at_once_but_one(count: int, most: int) -> None:
    watched = Watched(count)
    for _ in range(10):
        for member in watched.members:
            watched.fleet.failed(member)
    assert len(watched.usable()) == count - most


def test_when_all_are_ejected_a_doubtful_one_is_better_than_none() -> None:
    watched = Watched(1)
    for _ in range(5):
        watched.fleet.failed(watched.members[0])
    assert watched.usable() == {"w0"}


def test_a_worker_that_restarted_starts_anew() -> None:
    watched = Watched(3)
    for _ in range(5):
        watched.fleet.failed(watched.members[0])
    watched.fleet.lost("w0")
    watched.fleet.alive("w0", WorkerLoad(1, 2, 0.5))
    assert len(watched.usable()) == 3
    assert watched.members[0].load == WorkerLoad(1, 2, 0.5)


def test_an_organisations_own_worker_does_not_take_over_a_model_of_the_platform() -> None:
    watched = Watched(1)
    watched.fleet.put(worker("own", org_id="org_a"))
    watched.fleet.alive("own")
    for org_id in ("org_a", "org_b"):
        serving = watched.fleet.serving("m", org_id)
        assert serving is not None
        assert [member.id for member in serving._shared] == ["w0"]
    watched.fleet.remove("w0")
    serving = watched.fleet.serving("m", "org_a")
    assert serving is not None
    assert serving.owner is None, "also while the platform's own are away"


def test_an_organisations_own_model_is_served_by_its_own_workers_for_it_alone() -> None:
    watched = Watched(0)
    watched.fleet.put(worker("own", org_id="org_a"))
    watched.fleet.alive("own")
    serving = watched.fleet.serving("m", "org_a")
    assert serving is not None
    assert [member.id for member in serving._shared] == ["own"]
    assert watched.fleet.serving("m", "org_b") is None
    assert not watched.fleet.is_public("m")


def test_own_workers_that_cannot_serve_fall_back_to_the_platforms() -> None:
    watched = Watched(1)
    watched.fleet.prefer_own(frozenset({"org_a"}))
    watched.fleet.put(worker("own", org_id="org_a"))
    shared = watched.fleet.serving("m", None)
    assert watched.fleet.serving("m", "org_a") is shared, "it was never ready"
    watched.fleet.alive("own")
    own = watched.fleet.serving("m", "org_a")
    assert own is not shared
    watched.fleet.lost("own")
    assert watched.fleet.serving("m", "org_a") is shared
    watched.fleet.alive("own")
    assert watched.fleet.serving("m", "org_a") is own
    watched.fleet.prefer_own(frozenset())
    assert watched.fleet.serving("m", "org_a") is shared


def test_model_of_a_tenant_is_forgotten_with_its_last_worker() -> None:
    watched = Watched(1)
    for number in range(50):
        watched.fleet.put(worker("own", models=(f"private-{number}",), org_id="org_a"))
    assert len(watched.fleet.servings()) == 51
    watched.fleet.forget_unused(lambda serving: serving.model == "private-3")
    assert sorted(each.model for each in watched.fleet.servings()) == ["m", "private-3", "private-49"]


def test_broken_workers_of_a_tenant_do_not_use_up_the_ejections_of_others() -> None:
    watched = Watched(2)
    for name in ("own-1", "own-2"):
        watched.fleet.put(worker(name, org_id="org_a"))
        watched.fleet.alive(name)
    theirs = watched.fleet.member("own-1")
    assert theirs is not None
    for member in (theirs, watched.members[0]):
        for _ in range(5):
            watched.fleet.failed(member)
    assert watched.usable() == {"w1"}


def test_silent_workers_of_a_tenant_do_not_withhold_the_verdict_on_others() -> None:
    watched = Watched(4)
    for number in range(20):
        watched.fleet.put(worker(f"own-{number}", org_id="org_a"))
        watched.fleet.alive(f"own-{number}")
    watched.pass_time(40, *watched.members[1:])
    assert watched.states()[0] is WorkerState.DEAD


def test_own_workers_come_first_for_an_organisation_that_prefers_them() -> None:
    watched = Watched(1)
    watched.fleet.prefer_own(frozenset({"org_a"}))
    watched.fleet.put(worker("own", org_id="org_a"))
    watched.fleet.alive("own")
    ours, theirs = watched.fleet.serving("m", "org_a"), watched.fleet.serving("m", "org_b")
    assert ours is not None
    assert theirs is not None
    assert [member.id for member in ours._shared] == ["own"]
    assert [member.id for member in theirs._shared] == ["w0"]
    watched.fleet.remove("own")
    assert watched.fleet.serving("m", "org_a") is theirs


def test_an_edit_of_a_record_counts_at_once() -> None:
    watched = Watched(1)
    watched.fleet.put(worker("w0", 9, models=("m", "other")))
    assert watched.members[0].slots == 9
    assert set(watched.fleet.offers(None)) == {"m", "other"}
    assert frozenset({("m", None), ("other", None)}) in watched.changes
    watched.fleet.put(worker("w0", 9, models=("other",)))
    assert watched.usable() == set()


def test_unknown_model_has_no_serving_entry() -> None:
    assert Watched(1).fleet.serving("nothing", None) is None


def test_elastic_model_is_known_without_workers() -> None:
    watched = Watched(0)
    watched.fleet.set_elastic("m")
    serving = watched.fleet.serving("m", "org")
    assert serving is not None
    assert (serving.elastic, serving.known, serving.available) == (True, 0, False)
    watched.fleet.put(worker("w"))
    watched.fleet.remove("w")
    assert serving.elastic
    watched.fleet.set_elastic("m", elastic=False)
    assert not serving.elastic


def test_an_organisations_own_elastic_model_is_its_own() -> None:
    watched = Watched(1)
    watched.fleet.prefer_own(frozenset({"org"}))
    watched.fleet.set_elastic("m", "org")
    own, shared = watched.fleet.serving("m", "org"), watched.fleet.serving("m", "other")
    assert own is not None
    assert shared is not None
    assert (own.elastic, shared.elastic) == (True, False)


def test_an_impossible_move_is_an_error() -> None:
    member = Member(worker("a"), 0.0)
    with pytest.raises(IllegalMove):
        member.move(SUSPECT)
    assert member.move(READY)
    assert not member.move(READY)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_single_silent_worker_of_a_small_fleet_is_given_up(count: int) -> None:
    watched = Watched(count)
    watched.pass_time(31, *watched.members[1:])
    assert watched.states() == [DEAD, *[READY] * (count - 1)]


def test_workers_whose_machines_refuse_connections_are_given_up_however_many_they_are() -> None:
    watched = Watched(4)
    for member in watched.members[:2]:
        watched.fleet.lost(member.id, refused=True)
    watched.pass_time(31, *watched.members[2:])
    assert watched.states() == [DEAD, DEAD, READY, READY]


def test_worker_that_was_never_reached_does_not_withhold_the_verdict_on_others() -> None:
    watched = Watched(3)
    strangers = [watched.fleet.put(worker(f"left-{number}")) for number in range(4)]
    watched.pass_time(31, *watched.members[1:])
    assert (watched.states(), {member.state for member in strangers}) == ([DEAD, READY, READY], {DEAD})


def test_heartbeat_of_a_worker_that_cannot_be_reached_does_not_make_it_ready() -> None:
    watched = Watched(2)
    lost = watched.members[0]
    watched.fleet.lost(lost.id, refused=True)
    for _ in range(40):
        watched.fleet.heard(lost.id, WorkerLoad(running=1))
        watched.pass_time(1, watched.members[1])
    assert (lost.state, lost.load) == (SUSPECT, WorkerLoad(running=1))
    watched.fleet.alive(lost.id)
    assert lost.state is READY


def test_heartbeat_of_a_worker_that_was_given_up_makes_it_suspect_and_new() -> None:
    watched = Watched(2)
    lost = watched.members[0]
    watched.pass_time(31, watched.members[1])
    before = lost.incarnation
    watched.fleet.heard(lost.id, WorkerLoad())
    assert (lost.state, lost.incarnation) == (SUSPECT, before + 1)


def test_heartbeat_that_announces_a_drain_drains() -> None:
    watched = Watched(1)
    watched.fleet.heard("w0", WorkerLoad(), draining=True)
    assert watched.states() == [DRAINING]


def test_change_of_state_has_its_time() -> None:
    watched = Watched(2)
    watched.pass_time(5, watched.members[1])
    watched.fleet.lost("w0")
    assert watched.members[0].state_since == watched.clock.monotonic()
