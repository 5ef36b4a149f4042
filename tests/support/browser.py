"""Chromium for the tests that need a browser."""

import shutil

from tests.support.postgres import absent

_NAMES = ("chromium", "chromium-browser", "google-chrome")
HEADLESS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str:
    """Its path. Skips the test where there is none, or fails it where one is required (CI=true)."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    return found or absent("no Chromium on this machine")
