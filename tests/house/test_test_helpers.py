"""Where tests keep what they share, and how they wait."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.sources import ROOT, shown

TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if "__pycache__" not in path.parts)

SLEEPS = {
    # The one place that polls, and the same for what runs without this package: other SDKs, pages of the documentation.
    "tests/support/waiting.py": 2,
    "tests/support/doc_runner.py": 2,
    "tests/live/platform.py": 1,
    "tests/live/sdk/test_batches.py": 1,
    "tests/live/sdk/test_responses.py": 1,
    # It asks again while an error says that the server is not there yet.
    "tests/contract/storage/stores/tasks/test_faults.py": 1,
    "tests/live/compute/engines/test_supervisor.py": 1,
    # The passing of time is what is tested: servers that are slow, clients that are slow, functions that take long.
    "tests/flow/cli/fake_gateway.py": 1,
    "tests/flow/durable/objects/test_uploads.py": 1,
    "tests/flow/durable/tasks/functions_of_users.py": 3,
    "tests/live/durable/tasks/work_of_users.py": 2,
    "tests/flow/faults/test_failover.py": 1,
    "tests/flow/faults/test_slow_clients.py": 2,
    "tests/unit/net/test_dialer.py": 1,
}
"""How many sleeps of more than nothing a file has. The numbers only go down."""


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _sleeps(path: Path) -> int:
    """Calls of `time.sleep` and `asyncio.sleep`, but for `sleep(0)`, which is a turn of the event loop."""
    calls = [
        node for node in ast.walk(_tree(path)) if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep")
    ]
    return sum(not (isinstance(call.args[0], ast.Constant) and call.args[0].value == 0) for call in calls)


def test_no_file_imports_from_a_test_file() -> None:
    """What tests share is in `tests/support/`, in a `conftest.py`, or in a helper beside them."""
    modules = {shown(path).removesuffix(".py").replace("/", ".") for path in TESTS if path.name.startswith("test_")}
    found = {shown(path): sorted(modules.intersection(_imported(path))) for path in TESTS}
    assert {path: names for path, names in found.items() if names} == {}


def test_waiting_by_sleep_only_shrinks() -> None:
    """Wait for a signal, or with `tests/support/waiting.py` where there is none. Lower a number here when you remove a sleep."""
    found = {shown(path): count for path in TESTS if (count := _sleeps(path))}
    assert found == SLEEPS
