"""Whose fault an engine's error is."""

import msgspec
import pytest

from penstock.wire.refusals import callers_mistake

LLAMA = {"code": 400, "message": "request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it"}
VLLM = {"message": "This model's maximum context length is 8192 tokens.", "type": "BadRequestError", "param": None, "code": 400}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LLAMA, "context_length_exceeded"),
        (VLLM, "context_length_exceeded"),
        ({"message": "no", "code": "unsupported_parameter", "param": "n"}, "unsupported_parameter"),
        ({"message": "no"}, "invalid_request_error"),
    ],
)
def test_engine_error_becomes_our_error_code(error: dict[str, object], code: str) -> None:
    mistake = callers_mistake(400, msgspec.json.encode({"error": error}))
    assert mistake is not None
    assert (mistake.code, mistake.message) == (code, error["message"])


def test_engine_error_with_status_500_is_not_the_callers_mistake() -> None:
    assert callers_mistake(500, msgspec.json.encode({"error": LLAMA})) is None
