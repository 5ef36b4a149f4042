"""What `penstock tasks` prints of attempts."""

import json
from typing import Any

import pytest

from penstock.cli.commands.work.tasks import _fields
from penstock.cli.output.task_lines import state_line

ATTEMPT = {"number": 1, "runner": "run_1", "started_at": 10.0, "finished_at": 12.5, "outcome": "retried", "error": None}
ERROR = {"code": "raised", "message": "Traceback\n  line 3\nValueError: no such luck\n"}
TASK: dict[str, Any] = {
    "id": "task_1", "status": "scheduled", "attempt": 1, "max_attempts": 3, "progress": None, "error": ERROR,
    "created_at": 1.0, "run_at": None, "started_at": None, "finished_at": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"error": ERROR}, "1: retried after 2.5 s on run_1, raised: ValueError: no such luck"),
        ({"outcome": "succeeded"}, "1: succeeded after 2.5 s on run_1"),
        ({"finished_at": None, "outcome": None}, "1: running on run_1"),
        ({"error": {"code": "raised", "message": ""}}, "1: retried after 2.5 s on run_1"),
    ],
)
def test_each_attempt_is_a_line_with_its_reason(changes: dict[str, Any], line: str) -> None:
    assert [value for name, value in _fields(TASK | {"attempts": [ATTEMPT | changes]}) if name == "attempts"] == [line]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "scheduled, attempt 1, after raised: ValueError: no such luck"),
        ({"status": "running", "attempt": 2, "progress": {"done": 3}}, f"running, attempt 2, {json.dumps({'done': 3})}"),
        ({"status": "ready", "attempt": 0, "error": None}, "ready, attempt 0"),
    ],
)
def test_watched_task_says_why_it_waits_for_another_attempt(changes: dict[str, Any], line: str) -> None:
    assert state_line(TASK | changes) == line
