"""The harness that measures the lane serves real requests; the figures themselves are no test's business."""

import json
import subprocess
import sys

import pytest

from tests.support.sources import ROOT


def lane(*flags: str) -> str:
    """In a process of its own, because it changes how garbage is collected and what is logged."""
    return subprocess.run([sys.executable, "-m", "bench.lane", *flags], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_it_measures_requests_and_chunks() -> None:
    found = json.loads(lane("--samples", "1", "--repeats", "2", "--json"))
    assert list(found) == ["unary request", "stream without chunks", "streamed chunk"]
    assert all(cost["python_calls"] > 0 and cost["c_calls"] > 0 for cost in found.values())


@pytest.mark.slow
def test_it_shows_every_call() -> None:
    printed = lane("--calls")
    assert printed.startswith("a unary request: ")
    assert "Pipeline.run" in printed
    assert "a stream of one chunk: " in printed
