"""Recorded traffic, read."""

import json

import pytest

from penstock.domain.policy import Policy
from penstock.domain.principal import ServiceClass
from penstock.simulation.rehearsal.traces import UnreadableTrace, azure, usage_log
from penstock.simulation.rehearsal.what_if import Workers, compare

AZURE = ["TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:15:46.6805900,374,44", "2023-11-16 18:15:50.9951690,396,109"]


def record(started_at: float, **fields: object) -> str:
    known = {"started_at": started_at, "prompt_tokens": 100, "completion_tokens": 20, "org_id": "org_a", "service_class": "premium"}
    return json.dumps({**known, "service_tier": "default", "request_id": "req_1", **fields})


def test_a_trace_begins_at_zero() -> None:
    first, second = azure(AZURE)
    assert (first.at, first.prompt_tokens, first.output_tokens, first.max_tokens) == (0.0, 374, 44, 64)
    assert second.at == pytest.approx(4.314579, abs=1e-6)


@pytest.mark.parametrize("lines", [["a,b"], [*AZURE[:1], "yesterday,1,2"], [*AZURE[:1], "2023-11-16 18:15:46,1,many"]])
def test_a_trace_that_is_none_names_the_line(lines: list[str]) -> None:
    with pytest.raises(UnreadableTrace, match="line"):
        azure(lines)


def test_records_come_in_any_order() -> None:
    """The API lists the newest first."""
    asks = usage_log([record(1_000.5, service_class="free", service_tier="flex"), "", record(1_000.0)])
    assert [(ask.at, ask.service_class, ask.tier) for ask in asks] == [(0.0, ServiceClass.PREMIUM, None), (0.5, ServiceClass.FREE, "flex")]


@pytest.mark.parametrize("line", ["{", "{}", record(1.0, service_class="royal")])
def test_a_record_that_is_none_names_the_line(line: str) -> None:
    with pytest.raises(UnreadableTrace, match="line 2"):
        usage_log([record(1.0), line])


def test_the_same_traffic_under_two_policies() -> None:
    asks = usage_log(record(number * 0.1) for number in range(50))
    found = compare(asks, {"one": Policy(), "same": Policy()}, Workers(1, 4))
    assert found["one"] == found["same"]
    assert found["one"]["completed"] == 1.0
    assert found["one"]["requests"] == 50.0
