"""Runs the suite over every engine, and can write down which engine passed which feature.

    PENSTOCK_FEATURE_MATRIX=matrix.json pytest tests/contract/compute/engines

writes {engine: {feature: "passed" | "refused" | "failed" | "skipped"}}; a feature counts as passed when all of its tests did, as refused
when the engine says that it does not have it (`test_refusals.py`), as skipped when it does not apply.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from penstock.compute.engines import ENGINES as FAMILY
from tests.contract.compute.engines.subjects import Subject, lacks, subject

ENGINES = FAMILY.names()
_ORDER = ["skipped", "passed", "refused", "failed"]
_matrix: dict[str, dict[str, str]] = {}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "feature(name, needs='', uses=()): the feature of the matrix that a test shows; skipped without the capability, or when the engine "
        "lacks the feature or one that the test uses beside it",
    )


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared(engine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Subject]:
    async with subject(engine, tmp_path_factory.mktemp(engine)) as one:
        yield one


@pytest.fixture
def served(shared: Subject, engine: str, request: pytest.FixtureRequest) -> Subject:
    """The engine behind a worker, fast; one for all tests."""
    for mark in request.node.iter_markers("feature"):
        needs = mark.kwargs.get("needs", "")
        if needs and needs not in shared.offer.capabilities:
            pytest.skip(f"the model offers no {needs}")
        for feature in (*mark.args, *mark.kwargs.get("uses", ())):
            if lacks(engine, feature):
                pytest.skip(f"the engine has no {feature}")
    return shared


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    features = [str(value) for name, value in report.user_properties if name == "feature"]
    found = dict(report.user_properties)
    if not features or (report.when != "call" and report.outcome == "passed"):
        return
    row = _matrix.setdefault(str(found["engine"]), {})
    outcome = "refused" if "refused" in found and report.outcome == "passed" else report.outcome
    for feature in features:
        row[feature] = max(row.get(feature, "skipped"), outcome, key=_ORDER.index)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent not in item.path.parents or "engine" not in getattr(item, "fixturenames", ()):
            continue
        item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            item.user_properties += [("feature", mark.args[0]) for mark in item.iter_markers("feature")]
            item.user_properties.append(("engine", item.callspec.params.get("engine", "")))


def pytest_sessionfinish() -> None:
    if target := os.environ.get("PENSTOCK_FEATURE_MATRIX"):
        Path(target).write_bytes(msgspec.json.format(msgspec.json.encode(_matrix, order="sorted")))
