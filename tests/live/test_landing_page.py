"""The landing page in a real browser, served by a real gateway under its own Content-Security-Policy."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.browser import chromium
from tests.support.postgres import absent
from tests.support.running import penstock_up
from tests.support.sources import ROOT


@pytest.mark.browser
def test_a_visitor_finds_base_url_snippets_and_models(tmp_path: Path) -> None:
    browser = chromium()
    if shutil.which("node") is None or not (ROOT / "web" / "node_modules" / "playwright-core").exists():
        absent("no Node, or web/node_modules is not installed (make test-web)")
    with penstock_up(tmp_path) as running:
        command = ["node", "browser/landing.mjs", running.dashboard_url, running.api_key, browser]
        seen = subprocess.run(command, cwd=ROOT / "web", capture_output=True, text=True, timeout=90, check=False)
    assert (seen.returncode, seen.stderr) == (0, "")
