"""Compiled modules take the place of their sources when they were made from exactly these, and never otherwise."""

import fcntl
import importlib.util
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from penstock.base import compiled
from tests.support.sources import ROOT

LOADED = """
import sys
from pathlib import Path
from penstock.base import compiled
count = compiled.use(Path(sys.argv[1]))
from penstock.net import known_head
print(count, Path(known_head.__file__).suffix)
"""


def loaded(where: Path) -> str:
    """How many modules are taken from there by a process of its own, and what `net/known_head` is then."""
    return subprocess.run([sys.executable, "-c", LOADED, where], capture_output=True, text=True, check=True).stdout.strip()


def write(where: Path, fingerprint: str, modules: object) -> None:
    (where / compiled.MANIFEST).write_text(json.dumps({"fingerprint": fingerprint, "modules": modules}))


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"modules": 1, "fingerprint": ""}', "\0"])
def test_without_a_manifest_the_sources_run(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / compiled.MANIFEST).write_text(text)
    assert loaded(tmp_path) == "0 .py"


def test_build_of_other_sources_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "a.so").touch()
    write(tmp_path, "of something else", {"penstock.net.known_head": "a.so"})
    assert loaded(tmp_path) == "0 .py"


def test_a_file_that_is_gone_leaves_all_of_them_alone(tmp_path: Path) -> None:
    write(tmp_path, compiled.fingerprint(), {"penstock.net.known_head": "gone.so"})
    assert loaded(tmp_path) == "0 .py"


def test_too_late_is_not_at_all(tmp_path: Path) -> None:
    """Half of the modules compiled and half not would be two of everything."""
    (tmp_path / "a.so").touch()
    write(tmp_path, compiled.fingerprint(), {"penstock.base.compiled": "a.so"})
    before = list(sys.meta_path)
    assert compiled.use(tmp_path) == 0
    assert sys.meta_path == before


def compile_tool() -> Any:
    spec = importlib.util.spec_from_file_location("compile", ROOT / "tools/compile.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def test_process_that_waited_for_another_compilation_uses_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool, where = compile_tool(), tmp_path / "built"
    where.mkdir()
    monkeypatch.setattr(tool, "compile_into", lambda _: pytest.fail("it was compiled twice"))
    with where.with_suffix(".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(tool.compile_alone, where)
            write(where, compiled.fingerprint(), {"a": "a.so", "b": "b.so"})
            fcntl.flock(other, fcntl.LOCK_UN)
            assert waiting.result(10) == 2


def test_compilation_in_the_background_keeps_its_words_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_INTERPRETED", "1")  # it has nothing to do then
    assert compile_tool().start_in_background(tmp_path / "built") == tmp_path / "built.log"
    assert (tmp_path / "built.log").is_file()


def test_every_module_listed_for_compilation_exists_and_is_watched() -> None:
    """A module that moves takes its place in the list of `tools/compile.py` with it."""
    tool = compile_tool()
    assert [module for module in tool.MODULES if not (compiled.SOURCES / module).is_file()] == []
    watched = set(compiled.sources())
    assert [module for module in tool.MODULES if compiled.SOURCES / module not in watched] == []


@pytest.mark.soak
def test_the_compiled_rooms_pass_the_tests_of_their_sources(tmp_path: Path) -> None:
    script = "import sys; sys.path.insert(0, 'tools'); import compile, pathlib; compile.compile_into(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", script, tmp_path / "built"], cwd=ROOT, check=True, timeout=900)
    count, suffix = loaded(tmp_path / "built").split()
    assert (int(count) > 20, suffix) == (True, ".so")
    rooms = ["unit/net", "unit/serving", "unit/storage/journal", "flow/faults"]
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.compiled", "-q", *(f"tests/{room}" for room in rooms)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "COMPILED": str(tmp_path / "built")}, check=True, timeout=900)
