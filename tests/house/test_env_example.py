"""The example of an environment file is what the settings tree says."""

import pytest

from penstock.app.settings import Settings, load
from penstock.cli.commands.inspect.env_example import document
from tests.support.sources import ROOT


def test_the_file_is_up_to_date() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == document(), "run `penstock env-example > .env.example`"


def test_every_line_uncommented_gives_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uncommented, the whole file gives the defaults."""
    settings = {}
    for line in document().splitlines():
        name, separator, value = line.removeprefix("#").partition("=")
        if separator and name.startswith("PENSTOCK_"):
            monkeypatch.setenv(name, value)
            settings[name] = value
    assert len(settings) > 60
    assert load({}) == load_without(monkeypatch, settings)


def load_without(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> Settings:
    for name in settings:
        monkeypatch.delenv(name)
    return load({})
