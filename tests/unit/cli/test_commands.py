"""The list of commands agrees with the files behind it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from penstock.cli import main


@pytest.mark.parametrize("name", list(main.COMMANDS))
def test_every_command_has_a_help_text(name: str) -> None:
    result = CliRunner().invoke(main.app, [name, "--help"])
    assert result.exit_code == 0
    assert f"{name} [OPTIONS]" in result.stdout


def test_every_file_with_a_command_is_on_the_list() -> None:
    folder = Path(main.__file__).parent
    with_app = {path.stem.replace("_", "-") for path in folder.rglob("*.py") if "\napp = " in path.read_text(encoding="utf-8")}
    assert with_app - {"main"} == set(main.COMMANDS)


def test_version_flag_prints_the_version() -> None:
    assert CliRunner().invoke(main.app, ["--version"]).stdout.startswith("penstock ")


def test_help_without_a_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(main.app, []).exit_code == 2


@pytest.mark.parametrize(
    ("shell", "variables"),
    [
        ("bash", {"COMP_WORDS": "penstock wor", "COMP_CWORD": "1"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "penstock wor"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "penstock wor", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_shells_complete_commands(shell: str, variables: dict[str, str]) -> None:
    environment = {"_PENSTOCK_COMPLETE": f"complete_{shell}", **variables}
    assert "workers" in CliRunner().invoke(main.app, [], env=environment, prog_name="penstock").stdout
