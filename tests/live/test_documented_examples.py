"""The examples of README and docs/how-to/use-openai-sdks.md, run as they are printed against a real gateway."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.postgres import absent
from tests.support.running import Running, penstock_up
from tests.support.sources import ROOT, text

PROGRAMS = {
    "python": [sys.executable, "-W", "error", "-c"],
    "javascript": ["node", "--input-type=module", "-e"],
    "sh": ["bash", "-e", "-c"],
}
EXAMPLES = [
    pytest.param(match[1], match[2], id=f"{page}-{number}")
    for page in ("README.md", "docs/tutorials/getting-started.md", "docs/how-to/use-openai-sdks.md")
    for number, match in enumerate(re.finditer(r"^```(python|javascript|sh)\n(.*?)^```$", text(ROOT / page), re.MULTILINE | re.DOTALL))
    if match[1] != "sh" or match[2].startswith("curl ")
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with penstock_up(tmp_path_factory.mktemp("up")) as running:
        yield running


@pytest.mark.parametrize(("language", "code"), EXAMPLES)
def test_an_example_runs(language: str, code: str, running: Running) -> None:
    if language == "javascript" and not (ROOT / "web" / "node_modules" / "openai").exists():
        absent("web/node_modules is not installed (make test-web)")
    here = code.replace("http://127.0.0.1:8080/v1", running.base_url).replace("psk-...", running.api_key)
    surroundings = {**os.environ, "PENSTOCK_API_KEY": running.api_key}
    command = [*PROGRAMS[language], here]
    done = subprocess.run(command, cwd=ROOT / "web", env=surroundings, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert '"error"' not in done.stdout
