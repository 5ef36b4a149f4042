"""From an HTTP answer to a typed error, a sentence and an exit code."""

import json
from typing import Any

import pytest

from penstock.cli.chat.prompt import is_open, typed
from penstock.cli.client.api import refusal, refusal_of_body, segment
from penstock.cli.exits import ExitCode, of_status
from penstock.cli.output.money import currency_units
from penstock.cli.output.tables import cell, safe
from penstock.domain import errors
from penstock.net.api_client.refusals import retry_after_seconds


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, ExitCode.USAGE),
        (401, ExitCode.AUTH),
        (403, ExitCode.AUTH),
        (404, ExitCode.NOT_FOUND),
        (409, ExitCode.FAILURE),
        (422, ExitCode.USAGE),
        (429, ExitCode.LIMITED),
        (500, ExitCode.FAILURE),
        (503, ExitCode.FAILURE),
    ],
)
def test_exit_codes_by_status(status: int, code: ExitCode) -> None:
    assert of_status(status) is code


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (404, {"detail": "No.", "code": "not_found", "request_id": "req_1"}, errors.NotFound, "No. (HTTP 404, not_found, request req_1)"),
        (404, {"error": {"message": "No.", "code": "model_not_found"}}, errors.ModelNotFound, "No. (HTTP 404, model_not_found)"),
        (429, {"error": {"message": "Slow.", "code": "rate_limit_exceeded"}}, errors.RateLimited, "Slow. (HTTP 429, rate_limit_exceeded)"),
        (403, {"title": "Forbidden"}, errors.PermissionDenied, "Forbidden (HTTP 403)"),
        (418, {}, errors.PenstockError, "the gateway answered HTTP 418 (HTTP 418)"),
    ],
)
def test_both_shapes_become_typed_errors(status: int, body: Any, kind: type[errors.PenstockError], said: str) -> None:
    refused = refusal(status, {}, json.dumps(body).encode())
    assert (type(refused.error), str(refused)) == (kind, said)


@pytest.mark.parametrize("content", [b"", b"<html>", b"[1]", b"\xff", b'{"error": "text"}'])
def test_unknown_error_body_becomes_a_sentence(content: bytes) -> None:
    assert "HTTP 502" in str(refusal(502, {"x-request-id": "req_2"}, content))


def test_an_error_event_has_the_status_of_its_code() -> None:
    refused = refusal_of_body(0, {}, {"error": {"message": "Late.", "code": "deadline_exceeded"}})
    assert (type(refused.error), refused.status) == (errors.DeadlineExceeded, 504)


def test_retry_after_is_read_from_either_header() -> None:
    assert retry_after_seconds({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after_seconds({"retry-after": "9"}) == 9.0
    assert retry_after_seconds({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}) is None
    assert retry_after_seconds({}) is None


def test_segment_quotes_names_and_keeps_slashes_of_models() -> None:
    assert segment("../a b", slashes=False) == "..%2Fa%20b"
    assert segment("meta/llama:8b?", slashes=True) == "meta/llama:8b%3F"


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert safe("a\x1b[31m\x07\r\tb\nc\x9b") == "a\ufffd[31m\ufffd\tb\nc\ufffd"


def test_cell_formats_values_for_tables() -> None:
    assert [cell(value) for value in (None, True, 12345, ["a", 1], 1.5)] == ["", "yes", "12,345", "a, 1", "1.5"]


@pytest.mark.parametrize(
    ("micros", "text"), [(None, ""), (0, "0.00"), (150_000, "0.15"), (42, "0.000042"), (1_234_500_000, "1,234.50"), (-500_000, "-0.50")]
)
def test_currency_units_formats_micros(micros: int | None, text: str) -> None:
    assert currency_units(micros) == text


def test_open_input_continues_on_enter() -> None:
    assert [is_open(text) for text in ("hi", "hi\\", '"""', '"""a"""', 'a """ b')] == [False, True, True, False, True]


def test_typed_removes_continuations_and_fences() -> None:
    assert [typed(text) for text in (" hi ", "a\\\nb", '"""\na\n\nb\n"""', '"""', '""""""')] == ["hi", "a\nb", "a\n\nb", '"""', ""]
