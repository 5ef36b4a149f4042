"""Which answers of a gateway end a worker or runner, and how their reasons read."""

import httpx
import pytest

from penstock.net.join_client import connection_error, is_final, refusal_reason


@pytest.mark.parametrize("status", [400, 401, 403, 405, 413, 422, 499])
def test_refusal_by_a_client_error_is_final(status: int) -> None:
    assert is_final(status)


@pytest.mark.parametrize("status", [200, 201, 302, 404, 408, 409, 425, 429, 500, 502, 503, 504])
def test_status_that_may_pass_is_retried(status: int) -> None:
    assert not is_final(status)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (httpx.Response(403, json={"detail": "This token is for a runner."}), "This token is for a runner."),
        (httpx.Response(403, json={"detail": ""}), "HTTP 403"),
        (httpx.Response(403, json=["detail"]), "HTTP 403"),
        (httpx.Response(502, text="<html>"), "HTTP 502"),
    ],
)
def test_refusal_reason_is_the_problem_document_or_the_status(response: httpx.Response, reason: str) -> None:
    assert refusal_reason(response) == reason


def test_connection_error_names_the_gateway_and_the_reason() -> None:
    assert connection_error("http://192.0.2.1:8080", httpx.ReadTimeout("")) == "the gateway at http://192.0.2.1:8080: no answer in time"
    assert connection_error("http://192.0.2.1:8080", httpx.ConnectError("refused")) == "the gateway at http://192.0.2.1:8080: refused"
