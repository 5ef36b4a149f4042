"""What an answer of the gateway means: to be asked again, never to be taken, not for this key."""

import httpx
import pytest

from penstock.processes.streams.gateway_client import GatewayUnavailable, NotAllowed, SubmissionRejected, _refusal


def answer(status: int, body: str, **headers: str) -> Exception:
    return _refusal(httpx.Response(status, text=body, headers={name.replace("_", "-"): value for name, value in headers.items()}))


PROBLEM = '{"code": "payload_too_large", "detail": "A sentence.", "status": 413}'


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_content_errors_reject_the_submission(status: int) -> None:
    error = answer(status, PROBLEM)
    assert isinstance(error, SubmissionRejected)
    assert (error.code, str(error)) == ("payload_too_large", "A sentence.")


@pytest.mark.parametrize("status", [401, 403])
def test_status_401_and_403_mean_not_allowed(status: int) -> None:
    assert isinstance(answer(status, PROBLEM), NotAllowed)


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"retry_after": "7"}, 7.0),
        (503, {"retry_after_ms": "1500", "retry_after": "2"}, 1.5),
        (503, {"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        (500, {}, None),
        (408, {}, None),
    ],
)
def test_overload_and_server_errors_are_retried(status: int, headers: dict[str, str], seconds: float | None) -> None:
    error = answer(status, PROBLEM, **headers)
    assert isinstance(error, GatewayUnavailable)
    assert error.retry_after_seconds == seconds


@pytest.mark.parametrize("status", [400, 401, 404, 502])
def test_answer_of_a_proxy_is_retried(status: int) -> None:
    assert isinstance(answer(status, "<html>no such page</html>"), GatewayUnavailable)
