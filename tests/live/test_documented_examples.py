"""The examples of README and docs/clients.md, run as they are printed against a real gateway."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Running, penstock_up
from tests.sources import ROOT, text

EXAMPLES = [
    pytest.param(match[1], match[2], id=f"{page}-{number}")
    for page in ("README.md", "docs/getting-started.md", "docs/clients.md")
    for number, match in enumerate(re.finditer(r"^```(python|sh)\n(.*?)^```$", text(ROOT / page), re.MULTILINE | re.DOTALL))
    if match[1] == "python" or match[2].startswith("curl ")
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with penstock_up(tmp_path_factory.mktemp("up")) as running:
        yield running


@pytest.mark.parametrize(("language", "code"), EXAMPLES)
def test_an_example_runs(language: str, code: str, running: Running, tmp_path: Path) -> None:
    script = tmp_path / "example"
    script.write_text(code.replace("http://127.0.0.1:8080/v1", running.base_url).replace("psk-...", running.api_key))
    program = [sys.executable, "-W", "error"] if language == "python" else ["bash", "-e"]
    surroundings = {**os.environ, "PENSTOCK_API_KEY": running.api_key}
    done = subprocess.run([*program, str(script)], env=surroundings, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert '"error"' not in done.stdout
