"""The small load: how much is asked, and that the numbers add up."""

import pytest

from tests.flow.cli.conftest import Cli
from tests.flow.cli.fake_gateway import FakeGatewayState


@pytest.mark.parametrize("how", ["--stream", "--no-stream"])
def test_bench_counts_every_request_and_its_tokens(cli: Cli, state: FakeGatewayState, how: str) -> None:
    summary = cli.run("bench", "-n", "20", "-c", "4", how, "--max-tokens", "8", "--json").json
    assert (summary["succeeded"], summary["failed"], summary["errors"]) == (20, 0, {})
    assert len(state.chats) == 20
    assert state.chats[0]["max_tokens"] == 8
    assert summary["completion_tokens"] == 80
    assert summary["requests_per_second"] == pytest.approx(20 / summary["seconds"], rel=0.05)
    assert 0 < summary["total_ms"]["p50"] <= summary["total_ms"]["p95"] <= summary["total_ms"]["p99"]
    assert bool(summary["first_token_ms"]) is (how == "--stream")


def test_errors_are_counted_by_code_and_nothing_else_is_a_failure(cli: Cli) -> None:
    result = cli.run("bench", "-n", "6", "-c", "2", "--model", "broken", "--json")
    assert (result.code, result.json["errors"]) == (1, {"upstream_error": 6})
    assert cli.run("bench", "-n", "3", "--model", "cut", "--json").json["errors"] == {"bad_answer": 3}
    assert cli.run("bench", "-n", "3", "--model", "exhausted", "--no-stream", "--json").json["errors"] == {"insufficient_quota": 3}


def test_bench_prints_one_line_per_figure(cli: Cli) -> None:
    result = cli.run("bench", "-n", "4", "-c", "2")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["requests", "requests/s", "tokens/s", "first", "total"]
    assert "4 requests, 2 at a time" in result.stderr


def test_bench_refuses_too_many_requests_or_clients(cli: Cli) -> None:
    assert cli.run("bench", "-n", "1000000").code == 2
    assert cli.run("bench", "-c", "10000").code == 2
