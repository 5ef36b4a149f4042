"""TLS from the first day: `up` with a certificate of any kind reaches its own workers, and commands and joiners say whom they trust."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.flow.cli.conftest import Cli
from tests.support.certificates import Certificate, make_certificate

KINDS = {
    "self-signed": {"hosts": ("127.0.0.1",)},
    "private authority": {"hosts": ("127.0.0.1",), "authority": True},
    "public name": {"hosts": ("ai.example.org",), "authority": True},
    "expired, without names": {"expired": True},
}


@pytest.fixture
def bare(tmp_path: Path) -> Cli:
    return Cli({"PENSTOCK_DATA_DIR": str(tmp_path / "data"), "PENSTOCK_PROFILE": str(tmp_path / "profiles.toml")})


@contextmanager
def up(cli: Cli, certificate: Certificate) -> Iterator[dict[str, Any]]:
    flags = ("--tls-cert", str(certificate.file), "--tls-key", str(certificate.key_file))
    process = cli.start("up", "--port", "0", "--workers", "1", "--no-discover", "--json", *flags)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors


@pytest.mark.parametrize("kind", list(KINDS))
def test_up_with_tls_serves_its_own_workers_and_the_commands_of_its_user(bare: Cli, tmp_path: Path, kind: str) -> None:
    certificate = make_certificate(tmp_path / "tls", "gateway", **KINDS[kind])  # type: ignore[arg-type]
    with up(bare, certificate) as facts:
        assert facts["base_url"].startswith("https://127.0.0.1:")
        answer = bare.run("chat", "hello", "--model", "sim-small", "--max-tokens", "4", "--json")
        assert (answer.code, answer.json["usage"]["completion_tokens"]) == (0, 4), answer.stderr
        assert bare.run("bench", "-n", "2", "-c", "1", "--max-tokens", "2", "--json").code == 0


def test_commands_and_workers_trust_a_private_authority_by_its_file_alone(bare: Cli, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "tls", "gateway", hosts=("127.0.0.1",), authority=True)
    other = make_certificate(tmp_path / "tls", "other", hosts=("127.0.0.1",), authority=True)
    with up(bare, certificate) as facts:
        stranger = Cli({"PENSTOCK_PROFILE": str(tmp_path / "none.toml")})
        flags = ("--base-url", facts["base_url"], "--api-key", facts["api_key"])
        refused = stranger.run("models", "list", *flags)
        assert (refused.code, "its certificate is not trusted" in refused.stderr, "is the gateway running" in refused.stderr) == (
            1,
            True,
            False,
        )
        assert stranger.run("models", "list", *flags, "--ca-file", str(other.authority)).code == 1
        assert stranger.run("models", "list", *flags, "--ca-file", str(certificate.authority)).code == 0
        assert stranger.run("models", "list", *flags, PENSTOCK_CA_FILE=str(certificate.authority)).code == 0
        saved = stranger.run("profiles", "save", "work", *flags, "--ca-file", str(certificate.authority))
        assert (saved.code, stranger.run("models", "list").code) == (0, 0)
        root = facts["base_url"].removesuffix("/v1")
        for command in (
            ("worker", "--name", "far", "--state-dir", str(tmp_path / "far")),
            ("runner", "--state-dir", str(tmp_path / "run")),
        ):
            joiner = stranger.start(*command, "--join", root, "--token", facts["join_token"], "--ca-file", str(certificate.authority))
            assert joiner.stderr is not None
            seen = next((line for line in joiner.stderr if "joined" in line), "")
            joiner.send_signal(signal.SIGTERM)
            joiner.communicate(timeout=60)
            assert '"joined"' in seen or "runner_joined" in seen, seen


def test_worker_of_an_untrusted_gateway_says_whose_certificate_it_refused(bare: Cli, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "tls", "gateway", hosts=("127.0.0.1",))
    with up(bare, certificate) as facts:
        root = facts["base_url"].removesuffix("/v1")
        worker = bare.start("worker", "--join", root, "--token", facts["join_token"], "--state-dir", str(tmp_path / "far"))
        assert worker.stderr is not None
        line = next(line for line in worker.stderr if "not_joined_yet" in line)
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=60)
        assert f"the gateway at {root}: its certificate is not trusted: self-signed certificate" in line


@pytest.mark.parametrize("files", ["swapped", "another key"])
def test_files_that_are_no_certificate_and_its_key_stop_the_start_with_a_sentence(bare: Cli, tmp_path: Path, files: str) -> None:
    certificate, other = (make_certificate(tmp_path / "tls", name) for name in ("one", "two"))
    pair = (certificate.key_file, certificate.file) if files == "swapped" else (certificate.file, other.key_file)
    process = bare.start("up", "--port", "0", "--no-discover", "--tls-cert", str(pair[0]), "--tls-key", str(pair[1]))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert "PEM certificate" in errors if files == "swapped" else "are not a certificate and its key" in errors
