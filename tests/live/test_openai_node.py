"""The conformance cases of OpenAI's SDK for Node."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.live.sdk.target import Targets, to_environment
from tests.support.postgres import absent
from tests.support.sources import ROOT

CASES = ROOT / "tests" / "live" / "sdk_node"


@pytest.fixture(scope="module")
def installed() -> Path:
    """The cases, with the SDK beside them as the lock has it."""
    if shutil.which("npm") is None:
        absent("no Node on this machine")
    lock, stamp = CASES / "package-lock.json", CASES / "node_modules" / ".stamp"
    if not stamp.exists() or stamp.read_text() != lock.read_text():
        command = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
        made = subprocess.run(command, cwd=CASES, capture_output=True, text=True, timeout=300, check=False)
        if made.returncode:
            absent(f"{CASES.name} cannot be installed: {made.stderr[-500:]}")
        stamp.write_text(lock.read_text())
    return CASES


@pytest.mark.timeout(400)
def test_every_case_with_the_sdk_for_node(installed: Path, targets: Targets) -> None:
    command = ["node", "--test", "--test-reporter=spec"]
    done = subprocess.run(
        command, cwd=installed, env={**os.environ, **to_environment(targets)}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    assert "pass 0" not in done.stdout
