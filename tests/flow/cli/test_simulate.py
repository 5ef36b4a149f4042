"""`penstock simulate` as a command: its last line, its exit code, its report, and recorded traffic under another policy."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest


def simulate(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "penstock", "simulate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_the_last_line_is_json_and_the_report_has_plots(tmp_path: Path) -> None:
    found = simulate("--suite", "class_weights", "--suite", "starvation", "--seeds", "1", "--brief", "--json", "--report", str(tmp_path))
    assert found.returncode == 0, found.stderr
    document = json.loads(found.stdout.splitlines()[-1])
    assert [set(check) for check in document["checks"]] == [{"name", "passed", "measured", "required"}] * 3
    assert all(check["passed"] for check in document["checks"])
    page = (tmp_path / "rehearsals.md").read_text()
    assert "deficit_round_robin.first_320" in page
    (plot,) = (tmp_path / "rehearsals").glob("*.svg")
    assert ElementTree.fromstring(plot.read_text()).tag.endswith("svg")
    assert f"rehearsals/{plot.name}" in page


def test_unknown_scenario_is_a_usage_error() -> None:
    found = simulate("--suite", "nonsense")
    assert found.returncode == 2
    assert "there are: all, mixed_lengths" in found.stderr


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two organisations of one class, more than one small worker can do."""
    fields = {"prompt_tokens": 200, "completion_tokens": 60, "service_class": "premium", "service_tier": "default"}
    records = [{**fields, "request_id": f"r{at}", "org_id": f"org-{at % 2}", "started_at": 1_700_000_000 + at / 20} for at in range(200)]
    path = tmp_path / "usage.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    return path


def test_recorded_traffic_under_another_policy(tmp_path: Path, log: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[classes.premium]\nbound = 1\n")
    found = simulate("--from-log", str(log), "--policy", str(policy), "--workers", "1", "--slots", "4", "--speed", "0.2", "--json")
    assert found.returncode == 0, found.stderr
    document = json.loads(found.stdout)
    assert document["default policy"]["requests"] == document["policy.toml"]["requests"] == 200.0
    assert document["policy.toml"]["premium shed"] > document["default policy"]["premium shed"]


def test_invalid_log_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "usage.jsonl"
    path.write_text('{"started_at": 1}\n')
    found = simulate("--from-log", str(path))
    assert found.returncode == 2
    assert "line 1" in found.stderr


def test_policy_without_traffic_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("")
    assert "needs traffic" in simulate("--policy", str(path)).stderr
