"""Lines about tasks: their attempts, and what a task that is watched does."""

import json
from collections.abc import Mapping
from typing import Any


def attempt_line(attempt: Mapping[str, Any]) -> str:
    """As `1: retried after 0.3 s on run_01..., raised: ValueError: no`."""
    if attempt["finished_at"] is None:
        return f"{attempt['number']}: running on {attempt['runner']}"
    seconds = attempt["finished_at"] - attempt["started_at"]
    error = attempt["error"]
    reason = f", {error['code']}: {error['message'].strip().splitlines()[-1]}" if error and error["message"].strip() else ""
    return f"{attempt['number']}: {attempt['outcome']} after {seconds:.1f} s on {attempt['runner']}{reason}"


def state_line(task: Mapping[str, Any]) -> str:
    """With the progress, and before another attempt with the reason of it."""
    error = task["error"] if task["status"] in ("scheduled", "ready") else None
    return ", ".join(
        [
            f"{task['status']}, attempt {task['attempt']}",
            *([] if task["progress"] is None else [json.dumps(task["progress"], ensure_ascii=False)]),
            *([f"after {error['code']}: {error['message'].strip().splitlines()[-1]}"] if error and error["message"].strip() else []),
        ]
    )
