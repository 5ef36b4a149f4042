"""Back up while it runs, restore elsewhere, and get in again without a key."""

import asyncio
import json
import signal
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.flow.cli.conftest import Cli
from tests.support.waiting import until


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def cli_of(home: Path, name: str) -> Cli:
    return Cli({"PENSTOCK_DATA_DIR": str(home / name), "PENSTOCK_PROFILE": str(home / f"{name}.toml")})


@contextmanager
def up(cli: Cli, *flags: str) -> Iterator[dict[str, Any]]:
    process = cli.start("up", "--port", "0", "--no-discover", "--json", *flags)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors


def usage_of(cli: Cli, *flags: str) -> int:
    total: int = cli.run("usage", "--json", *flags).json["totals"]["completion_tokens"]
    return total


def test_backup_of_a_running_installation_restores_keys_usage_files_and_tasks(home: Path) -> None:
    cli, copy, saved = cli_of(home, "data"), cli_of(home, "copy"), home / "saved.tar.gz"
    with up(cli, "--workers", "1") as facts:
        assert cli.run("chat", "hello", "--model", "sim-small", "--max-tokens", "5").code == 0
        (home / "data" / "files").mkdir(exist_ok=True)
        (home / "data" / "files" / "file_1").write_bytes(b"content")
        cli.run("tasks", "submit", "nothing_has_this", "{}", "--kind", "function")
        made = cli.run("backup", str(saved))
        assert (made.code, stat.S_IMODE(saved.stat().st_mode)) == (0, 0o600), made.stderr
        assert cli.run("backup", str(saved)).code == 1  # never over another one
    restored = copy.run("restore", str(saved))
    assert (restored.code, "It is held" in restored.stderr) == (0, True), restored.stderr
    assert (home / "copy" / "files" / "file_1").read_bytes() == b"content"
    with up(copy, "--workers", "0") as there:
        flags = ("--base-url", there["base_url"], "--api-key", facts["api_key"])
        assert usage_of(copy, *flags) == 5
        listed = copy.run("workers", "list", "--json", *flags).json["data"]
        assert [worker["name"] for worker in listed] == ["sim-1"]
        assert copy.run("models", "list", "--json", *flags).json["data"] == []  # the stored worker is not called


def test_released_copy_calls_its_stored_workers_and_a_held_one_does_not(home: Path) -> None:
    cli, copy, saved = cli_of(home, "data"), cli_of(home, "copy"), home / "saved.tar"
    with up(cli, "--workers", "1") as facts:
        assert cli.run("backup", str(saved)).code == 0
        assert copy.run("restore", str(saved)).code == 0
        with up(copy, "--workers", "0") as there:
            assert served(copy, there, facts) == set()
        assert "restarted" in copy.run("admin", "release").stderr
        assert "not held" in copy.run("admin", "release").stderr
        with up(copy, "--workers", "0") as there:
            asyncio.run(until(lambda: served(copy, there, facts) == {"sim-small", "sim-large"}, seconds=20.0))


def served(cli: Cli, there: dict[str, Any], facts: dict[str, Any]) -> set[str]:
    flags = ("--base-url", there["base_url"], "--api-key", facts["api_key"])
    return {model["id"] for model in cli.run("models", "list", "--json", *flags).json["data"] if model["workers"]}


def test_admin_reset_gives_a_key_and_a_password_and_keeps_the_old_key(home: Path) -> None:
    cli = cli_of(home, "data")
    with up(cli, "--workers", "0") as first:
        refused = cli.run("admin", "reset")
        assert (refused.code, "belongs to the running process" in refused.stderr) == (1, True)
    made = cli.run("admin", "reset", "--json").json
    assert made["admin_email"] == first["admin_email"]
    with up(cli, "--workers", "0") as again:
        for key in (made["api_key"], first["api_key"]):
            assert cli.run("keys", "list", "--base-url", again["base_url"], "--api-key", key).code == 0


def test_restore_over_an_installation_is_refused_and_replace_moves_it_aside(home: Path) -> None:
    cli, saved = cli_of(home, "data"), home / "saved.tar"
    assert cli.run("migrate", "--data-dir", str(home / "data")).code == 0
    assert cli.run("backup", str(saved)).code == 0
    refused = cli.run("restore", str(saved))
    assert (refused.code, "--replace" in refused.stderr) == (1, True)
    assert cli.run("restore", str(saved), "--replace").code == 0
    aside = next((home / "data").glob("replaced-*"))
    assert (aside / "penstock.db").exists()


@pytest.mark.parametrize("bad", ["not a tar", "traversal", "link", "newer schema", "missing", "cut"])
def test_file_that_is_no_backup_of_ours_is_refused_and_nothing_is_written(home: Path, bad: str) -> None:
    cli, saved = cli_of(home, "data"), home / "saved.tar"
    manifest = {"made_at": 1.0, "version": "9", "schema": "9999" if bad == "newer schema" else "0001"}
    if bad == "not a tar":
        saved.write_bytes(b"psk" * 1000)
    elif bad != "missing":
        with tarfile.open(saved, "w") as tar:
            add(tar, "manifest.json", json.dumps(manifest).encode())
            add(tar, "penstock.db", b"x" * 100_000)
            if bad == "traversal":
                add(tar, "files/../../escaped", b"x")
            elif bad == "link":
                link = tarfile.TarInfo("files/link")
                link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(link)
        if bad == "cut":
            saved.write_bytes(saved.read_bytes()[:50_000])
    result = cli.run("restore", str(saved))
    assert (result.code, result.stderr.startswith("penstock: ")) == (1, True), result.stderr
    assert not (home / "data" / "penstock.db").exists()
    assert not (home / "escaped").exists()


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, BytesIO(content))


def test_migrate_names_its_store_and_makes_no_new_one_unasked(home: Path) -> None:
    default = home / "share" / "penstock" / "penstock.db"
    cli = Cli({"XDG_DATA_HOME": str(home / "share"), "PENSTOCK_PROFILE": str(home / "profiles.toml")})
    refused = cli.run("migrate")
    assert (refused.code, f"There is no store {default}" in refused.stderr) == (1, True), refused.stderr
    assert not default.parent.exists()
    made = cli.run("migrate", "--create")
    assert (made.code, f"The store {default} is up to date" in made.stderr) == (0, True)
    assert cli.run("migrate").code == 0
    assert cli.run("migrate", "--data-dir", str(home / "other")).code == 0


def test_gateway_on_an_old_store_names_the_store_that_must_be_migrated(home: Path) -> None:
    cli = cli_of(home, "other")
    process = cli.start("gateway", "--port", "0", "--data-dir", str(home / "data"))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"run `penstock migrate`. Name this store to it: --data-dir {home / 'data'}." in errors
