"""The conformance cases again, with the OpenAI SDK of the previous major version in an environment of its own."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.live.sdk.target import Targets, to_environment
from tests.support.postgres import absent
from tests.support.sources import ROOT

ENVIRONMENT = "build/openai-2"


@pytest.fixture(scope="module")
def python() -> Path:
    """Made by `make`, as `make test` does before the first test."""
    made = subprocess.run(["make", f"{ENVIRONMENT}/stamp"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    if made.returncode:
        absent(f"{ENVIRONMENT} cannot be installed: {made.stderr[-500:]}")
    return ROOT / ENVIRONMENT / "bin" / "python"


@pytest.mark.timeout(400)
def test_every_case_with_the_previous_sdk(python: Path, targets: Targets) -> None:
    version = subprocess.run([python, "-c", "import openai; print(openai.__version__)"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("2.")
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", "tests/live/sdk"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **to_environment(targets)}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
