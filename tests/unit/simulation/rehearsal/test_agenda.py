"""The virtual clock: what happens when, in which order."""

from penstock.simulation.rehearsal.agenda import Agenda


def test_events_happen_in_order_and_at_their_moment() -> None:
    agenda = Agenda(start=0.0)
    seen: list[tuple[str, float]] = []
    agenda.at(2.0, lambda: seen.append(("later", agenda.monotonic())))
    agenda.at(1.0, lambda: seen.append(("first", agenda.monotonic())))
    agenda.at(1.0, lambda: seen.append(("second", agenda.monotonic())))
    agenda.at(-5.0, lambda: seen.append(("past", agenda.monotonic())))
    agenda.at(9.0, lambda: seen.append(("never", agenda.monotonic())))
    agenda.run(5.0)
    assert seen == [("past", 0.0), ("first", 1.0), ("second", 1.0), ("later", 2.0)]
    assert agenda.monotonic() == 5.0


def test_periodic_event_stops_at_the_end_of_the_run() -> None:
    agenda = Agenda(start=0.0)
    seen: list[float] = []
    agenda.every(0.5, lambda: seen.append(agenda.now))
    agenda.run(2.0)
    assert seen == [0.5, 1.0, 1.5, 2.0]


def test_a_run_can_be_stopped() -> None:
    agenda = Agenda(start=0.0)
    seen: list[float] = []
    agenda.every(1.0, lambda: seen.append(agenda.now))
    agenda.run(100.0, lambda: len(seen) == 3)
    assert agenda.now == 3.0
