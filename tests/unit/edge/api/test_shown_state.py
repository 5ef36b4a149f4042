"""The state of a worker as an operator sees it, and since when."""

from dataclasses import replace

import pytest

from penstock.domain.workers import ShownState, WorkerKind, WorkerLoad, WorkerRecord, WorkerState
from penstock.edge.api.worker_routes import shown_state, view
from penstock.edge.layers.services import LiveWorker

RECORD = WorkerRecord("wrk_a", "gpu-1", WorkerKind.WORKER, "sim", "http://192.0.2.7:9000", (), 4, joined_at=10.0, last_seen_at=50.0)
UPSTREAM = replace(RECORD, kind=WorkerKind.UPSTREAM)
ERROR = "the worker at http://192.0.2.7:9000: connection refused"


def live(state: WorkerState, error: str = "", reports: bool = True) -> LiveWorker:
    return LiveWorker("wrk_a", state, WorkerLoad(), 0, 0, since=70.0, reports=reports, error=error)


@pytest.mark.parametrize(
    ("record", "seen", "shown"),
    [
        (RECORD, live(WorkerState.READY), (ShownState.READY, 70.0)),
        (RECORD, live(WorkerState.DRAINING), (ShownState.DRAINING, 70.0)),
        (RECORD, live(WorkerState.JOINING), (ShownState.JOINING, 70.0)),
        (RECORD, None, (ShownState.JOINING, 10.0)),
        (RECORD, live(WorkerState.SUSPECT, reports=False), (ShownState.SUSPECT, 70.0)),
        (RECORD, live(WorkerState.SUSPECT, ERROR, reports=False), (ShownState.SUSPECT, 70.0)),
        (RECORD, live(WorkerState.SUSPECT, ERROR), (ShownState.UNREACHABLE, 70.0)),
        (RECORD, live(WorkerState.JOINING, ERROR), (ShownState.UNREACHABLE, 70.0)),
        (RECORD, live(WorkerState.DEAD, ERROR, reports=False), (ShownState.LOST, 50.0)),
        (UPSTREAM, live(WorkerState.DEAD, ERROR, reports=False), (ShownState.UNREACHABLE, 70.0)),
        (replace(RECORD, left_at=60.0), None, (ShownState.STOPPED, 60.0)),
    ],
    ids=[
        "ready",
        "draining",
        "joining",
        "not-seen-here",
        "silent",
        "silent-and-lost",
        "beats-and-suspect",
        "beats-and-joining",
        "given-up",
        "upstream",
        "left",
    ],
)
def test_state_is_what_the_gateway_sees_and_what_the_worker_said(
    record: WorkerRecord, seen: LiveWorker | None, shown: tuple[ShownState, float]
) -> None:
    assert shown_state(record, seen) == shown


def test_stored_worker_of_a_restored_copy_is_held() -> None:
    assert shown_state(RECORD, None, held=True) == (ShownState.HELD, None)


def test_view_names_the_host_and_the_last_error_of_a_worker_that_is_not_reached() -> None:
    shown = view(RECORD, live(WorkerState.SUSPECT, ERROR))
    assert (shown.host, shown.last_error) == ("192.0.2.7", ERROR)
    assert view(replace(RECORD, host="gpu-box"), live(WorkerState.READY, ERROR)).last_error == ""
    assert view(replace(RECORD, host="gpu-box"), None).host == "gpu-box"
