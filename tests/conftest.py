"""What all tests share: the record of faults, of which `make faults` makes the table in docs/reference/faults.md.

    @pytest.mark.fault("Upstream hangs before the first byte", "another worker is asked; 502 when there is none")

says which fault a test shows and what must happen; the fixture `figure` notes what was measured.
"""

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.coverage_files import Sweep

if importlib.util.find_spec("hypothesis"):  # the environment of the previous SDK has none
    from hypothesis import HealthCheck, settings

    # How long an example takes says how busy the machine is: speed is judged in bench/, never here.
    settings.register_profile("penstock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("penstock")

_rows: dict[str, dict[str, object]] = {}


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Note what was measured, for the table."""

    def note(text: str) -> None:
        request.node.user_properties.append(("figure", text))

    return note


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # one of several processes adds nothing up
        config.pluginmanager.register(Sweep())
        if config.pluginmanager.hasplugin("dsession"):
            from tests.support.together import Plugin

            config.pluginmanager.register(Plugin())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("fault"):
            item.user_properties.append(("fault", list(mark.args)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when != "call" and report.outcome != "failed":
        return
    figures = [str(value) for name, value in report.user_properties if name == "figure"]
    for name, value in report.user_properties:
        if name == "fault" and isinstance(value, list):
            fault, result = value
            row = _rows.setdefault(fault, {"result": result, "figures": [], "cases": 0, "failed": 0, "file": report.nodeid.split("::")[0]})
            row["cases"] = int(str(row["cases"])) + 1
            row["failed"] = int(str(row["failed"])) + (report.outcome == "failed")
            seen = row["figures"]
            assert isinstance(seen, list)
            seen += [each for each in figures if each not in seen]


def pytest_sessionfinish() -> None:
    if target := os.environ.get("PENSTOCK_FAULT_TABLE"):
        Path(target).write_text(json.dumps(_rows, indent=1), encoding="utf-8")
