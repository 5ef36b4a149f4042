"""`penstock stream`: what cannot work is said at once, with an exit code."""

import socket
from pathlib import Path

import pytest

from tests.flow.cli.conftest import Cli

NATS = ("--broker", "nats", "--server", "nats://127.0.0.1:1")
KAFKA = ("--broker", "kafka", "--server", "127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--broker kafka or --broker nats"),
        (NATS, "needs --source (records become tasks), --results"),
        ((*NATS, "--source", "in"), "name it with --function"),
        ((*NATS, "--source", "in", "--function", "f", "--results", "in"), "results 'in' is a part of the source 'in'"),
        (
            (*NATS, "--source", "in.>", "--function", "f", "--dead-letter", "in.dead"),
            "'in.dead' is a part of the source 'in.>'",
        ),
        ((*NATS, "--results", "out.*"), "has a wildcard"),
        ((*NATS, "--source", "two words", "--function", "f"), "stream.source (flag)"),
        ((*NATS, "--source", "in", "--function", "f", "--name", "a.b"), "stream.name (flag)"),
        ((*NATS, "--source", "in", "--records", "lines"), "stream.records (flag)"),
        ((*NATS, "--source", "in", "--kind", "report"), "stream.kind (flag)"),
        ((*NATS, "--results", "out", "--option", "colour"), "--option wants KEY=VALUE"),
        ((*NATS, "--results", "out", "--option", "colour=red"), "there is no option 'colour' for nats"),
        ((*KAFKA, "--results", "out", "--option", "acks=0"), "the option acks cannot be changed"),
        (("--broker", "nats", "--results", "out"), "needs the address of a server"),
        (("--broker", "rabbit", "--results", "out"), "there is no 'rabbit' in brokers; there are: kafka, memory, nats"),
    ],
)
def test_stream_settings_that_cannot_work_are_usage_errors(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    result = cli.run("stream", *arguments)
    assert (result.code, result.stdout) == (2, "")
    assert words in result.stderr


def test_missing_broker_client_is_named_with_its_extra(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "nats.py").write_text("raise ModuleNotFoundError('no', name='nats')")
    process = cli.start("stream", *NATS, "--results", "out", PYTHONPATH=str(tmp_path))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "pip install 'penstock[nats]'" in errors


def test_broker_library_is_imported_only_for_its_broker(cli: Cli, tmp_path: Path) -> None:
    for name in ("nats", "confluent_kafka"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(77)")
    process = cli.start("stream", "--broker", "memory", "--results", "out", "--api-key", "psk_wrong", PYTHONPATH=str(tmp_path))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 4, errors


def ended(cli: Cli, *arguments: str) -> tuple[int, str]:
    """Exit code and standard error of a process of its own."""
    process = cli.start("stream", *arguments)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def test_unknown_client_option_is_reported(cli: Cli) -> None:
    code, errors = ended(cli, *KAFKA, "--results", "out", "--option", "colour=red")
    assert (code, 'No such configuration property: "colour"' in errors) == (2, True)


def test_taken_metrics_port_is_reported(cli: Cli, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, errors = ended(cli, *NATS, "--results", "out", "--metrics-port", port, "--state-dir", str(tmp_path / "state"))
    assert (code, "Address already in use" in errors) == (1, True)
