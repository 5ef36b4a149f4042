"""The workflow of CI runs make goals that exist, through .ci/run, which knows what each of them needs."""

import re

import yaml  # type: ignore[import-untyped]

from tests.support.sources import ROOT, text

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
GOALS = set(re.findall(r"^([a-z][a-z0-9-]*):", text(ROOT / "Makefile"), re.MULTILINE))


def goals_of_jobs() -> dict[str, list[str]]:
    jobs = yaml.safe_load(text(WORKFLOW))["jobs"]
    commands = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    return {name: [goal for run in runs for goal in re.findall(r"^\.ci/run (.+)$", run, re.MULTILINE)] for name, runs in commands.items()}


def test_each_job_runs_make_goals_that_exist() -> None:
    found = goals_of_jobs()
    assert {name: goals for name, goals in found.items() if not goals or not GOALS.issuperset(" ".join(goals).split())} == {}


def test_jobs_together_are_the_whole_gate() -> None:
    assert {goal for goals in goals_of_jobs().values() for goal in goals} == {
        "lint",
        "test-unit",
        "test-contract",
        "test-flow",
        "test-live",
        "test-browser",
    }


def test_goals_of_tests_cover_every_folder_of_tests() -> None:
    recipes = text(ROOT / "Makefile")
    run = set(re.findall(r"\btests/([a-z]+)\b", " ".join(re.findall(r"^\t@\$\(PYTEST\) (.*)$", recipes, re.MULTILINE))))
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.rglob("test_*.py"))}
    assert run == folders
