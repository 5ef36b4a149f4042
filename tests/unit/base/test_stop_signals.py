import signal

from penstock.base.stop_signals import stop_signals
from tests.support.interrupts import interrupts_ignored_by_children, interrupts_reach_children


def test_sigterm_and_sigint_stop_a_process_in_the_foreground() -> None:
    with interrupts_reach_children():
        assert stop_signals() == (signal.SIGTERM, signal.SIGINT)


def test_sigint_does_not_stop_a_process_that_was_started_with_it_ignored() -> None:
    with interrupts_ignored_by_children():
        assert stop_signals() == (signal.SIGTERM,)
