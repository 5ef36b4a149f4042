"""The signed calls are read from the routers; this list is written by hand, so that a route added to a router is noticed."""

import pytest

from penstock.edge.joining.signed_paths import has_small_body, is_signed

SMALL = (
    "/api/workers/join",
    "/api/workers/wrk_1/heartbeat",
    "/api/workers/wrk_1/leave",
    "/api/runners/join",
    "/api/runners/run_1/claim",
    "/api/runners/run_1/news",
    "/api/runners/run_1/beat",
    "/api/runners/run_1/leave",
)
LARGE = ("/api/runners/run_1/finish", "/api/runners/run_1/progress", "/api/runners/run_1/call")


@pytest.mark.parametrize("path", SMALL + LARGE)
def test_call_of_a_worker_or_runner_is_signed_only_as_post(path: str) -> None:
    assert is_signed("POST", path)
    assert not any(is_signed(method, path) for method in ("GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "post"))


@pytest.mark.parametrize(
    "path",
    [
        "/api/workers",
        "/api/workers/wrk_1",
        "/api/workers/wrk_1/logs",
        "/api/workers/a/b/heartbeat",
        "/api/workers//heartbeat",
        "/api/workers/join/",
        "/api/workers/join\n",
        "/API/workers/join",
        "/x/api/workers/join",
        "/api/workers/joinx",
        "/apiXworkers/join",
        "/api/runners",
        "/api/runners/run_1",
        "/api/runners/run_1/finish/x",
        "/api/tasks",
        "",
    ],
)
def test_other_path_is_not_signed_and_so_needs_a_key(path: str) -> None:
    assert not is_signed("POST", path)
    assert not has_small_body("POST", path)


def test_only_calls_without_results_have_small_bodies() -> None:
    assert [path for path in SMALL + LARGE if has_small_body("POST", path)] == list(SMALL)
