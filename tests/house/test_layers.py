"""The direction of imports: import-linter's contracts are kept, and they speak of everything that is there."""

import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.sources import PACKAGE, ROOT, rooms, shown, text, wings

MOST_ROOMS = 8
MOST_FILES = 20
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


def _contract(name: str) -> dict[str, Any]:
    return next(contract for contract in CONFIG["contracts"] if contract["id"] == name)


def _module(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def test_the_contracts_are_kept() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    linted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_a_forbidden_import_is_noticed(tmp_path: Path) -> None:
    """The contracts can fail: a copy of the package in which a decision reads the settings breaks them."""
    copy = tmp_path / "penstock"
    for source in PACKAGE.rglob("*.py"):
        target = copy / source.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text(source))
    (copy / "serving" / "scheduling" / "leak.py").write_text("import socket\nfrom penstock.app.settings import Settings\n")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    linted = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert linted.returncode == 1, linted.stdout
    assert "penstock.serving.scheduling.leak -> penstock.app.settings" in linted.stdout
    assert "penstock.serving is not allowed to import socket" in linted.stdout


def test_every_wing_that_decides_is_kept_from_io() -> None:
    layers = _contract("wings")["layers"]
    below = layers[next(at for at, layer in enumerate(layers) if "serving" in layer) :]
    touch_the_world = {"storage", "net", "base"}
    expected = {f"penstock.{wing}" for wing in re.findall(r"\w+", " ".join(below)) if wing not in touch_the_world}
    assert expected <= set(_contract("decisions")["source_modules"])


@pytest.mark.parametrize("wing", ["compute", "durable", "processes", "storage"])
def test_every_room_of_a_wing_is_kept_from_its_siblings(wing: str) -> None:
    assert set(_contract(wing)["modules"]) == {f"penstock.{room.replace('/', '.')}" for room in rooms() if room.startswith(f"{wing}/")}


def test_the_house_stays_walkable() -> None:
    """At most 20 wings, 8 rooms in a wing, 20 files in a folder."""
    folders = [folder for folder in PACKAGE.rglob("*") if (folder / "__init__.py").is_file()]
    assert len(wings()) <= MOST_FILES
    assert {wing: count for wing, count in Counter(room.partition("/")[0] for room in rooms()).items() if count > MOST_ROOMS} == {}
    assert {shown(folder): count for folder in folders if (count := len([*folder.glob("*.py")])) > MOST_FILES} == {}


def test_every_member_of_a_family_is_kept_from_its_siblings() -> None:
    members = {_module(path) for path in PACKAGE.rglob("*.py") if re.search(r"^MEMBER\b", text(path), re.MULTILINE)}
    assert members, "no family has a member"
    assert set(_contract("members")["modules"]) == members


@pytest.mark.parametrize("contract", CONFIG["contracts"], ids=lambda contract: contract["id"])
def test_no_contract_makes_an_exception(contract: dict[str, Any]) -> None:
    assert "ignore_imports" not in contract
