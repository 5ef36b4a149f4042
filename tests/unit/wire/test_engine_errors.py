"""The shapes in which servers say that they could not answer, and whose fault it is."""

import json
from typing import Any

import pytest

from penstock.wire.chat.engine_errors import EngineSaid, is_error, read_error
from penstock.wire.refusals import callers_mistake, inner_status, wanted_rest

SHAPES: dict[str, tuple[Any, EngineSaid]] = {
    "openai": (
        {"error": {"message": "m", "type": "t", "code": "c", "param": "p"}},
        EngineSaid("m", "t", "c", "p"),
    ),
    "a number as the code": ({"error": {"message": "m", "code": 404}}, EngineSaid("m", status=404)),
    "old vLLM": (
        {"object": "error", "message": "m", "type": "BadRequestError", "param": None, "code": 400},
        EngineSaid("m", "BadRequestError", status=400),
    ),
    "plain text": ({"error": "m"}, EngineSaid("m")),
    "detail": ({"detail": "m"}, EngineSaid("m")),
    "detail with an object": ({"detail": {"message": "m", "code": "c"}}, EngineSaid("m", code="c")),
    "detail of FastAPI": (
        {"detail": [{"type": "missing", "loc": ["body", "messages", 0, "name"], "msg": "Field required"}]},
        EngineSaid("messages[0].name: Field required", param="messages[0].name"),
    ),
    "errors": ({"success": False, "errors": [{"code": 5006, "message": "m"}]}, EngineSaid("m")),
    "base_resp": ({"base_resp": {"status_code": 1004, "status_msg": "m"}}, EngineSaid("m")),
    "message and code": ({"message": "m", "code": "c"}, EngineSaid("m", code="c")),
    "a status beside": ({"error": {"message": "m"}, "status": "429"}, EngineSaid("m", status=429)),
    "a code that is no name": ({"error": {"message": "m", "code": "two words\n"}}, EngineSaid("m")),
}


@pytest.mark.parametrize(("body", "said"), SHAPES.values(), ids=SHAPES.keys())
def test_error_of_a_known_shape_is_read(body: Any, said: EngineSaid) -> None:
    assert read_error(json.dumps(body).encode()) == said
    assert is_error(body)


@pytest.mark.parametrize(
    "body", [{}, {"object": "ping"}, {"message": "progress"}, {"type": "ping"}, {"error": None}, {"base_resp": {"status_code": 0}}, [], 5]
)
def test_object_that_tells_of_no_failure_is_no_error(body: Any) -> None:
    assert not is_error(body)


def test_beginning_of_a_long_error_still_has_its_sentence() -> None:
    body = b'{"error":{"type":"BadRequestError","message":"1 validation error: \\"' + b"x" * 70_000
    said = read_error(body)
    assert (said.message[:23], len(said.message), said.type) == ('1 validation error: "xx', 1000, "BadRequestError")


@pytest.mark.parametrize(
    ("status", "error", "shown"),
    [
        (
            400,
            {"message": "m", "code": "content_filter", "type": "content_policy", "param": "prompt"},
            (400, "content_filter", "content_policy", "prompt"),
        ),
        (400, {"message": "m", "code": "string_above_max_length"}, (400, "string_above_max_length", "invalid_request_error", None)),
        (422, {"message": "m", "code": "c"}, (400, "c", "invalid_request_error", None)),
        (404, {"message": "No endpoints found that support tool use."}, (404, "not_found", "invalid_request_error", None)),
        (404, {"message": "The model `x` does not exist."}, (404, "model_not_found", "invalid_request_error", "model")),
        (410, {"message": "It was retired."}, (404, "not_found", "invalid_request_error", None)),
        (451, {"message": "not in your country"}, (451, "invalid_request_error", "invalid_request_error", None)),
        (403, {"message": "Your input was flagged."}, (403, "invalid_request_error", "invalid_request_error", None)),
        (
            400,
            {"message": "prompt is too long: 9 tokens", "type": "BadRequestError"},
            (400, "context_length_exceeded", "invalid_request_error", None),
        ),
    ],
)
def test_callers_mistake_keeps_code_type_and_param(status: int, error: dict[str, Any], shown: tuple[Any, ...]) -> None:
    mistake = callers_mistake(status, json.dumps({"error": error}).encode())
    assert mistake is not None
    assert (mistake.status, mistake.code, mistake.type, mistake.param) == shown


@pytest.mark.parametrize(
    "body", [b"<html>404</html>", b'{"detail":"Not Found"}', b"404 page not found", b'{"error":{"message":"Invalid URL (POST /x)"}}']
)
def test_path_that_the_server_does_not_have_is_the_operators_matter(body: bytes) -> None:
    assert callers_mistake(404, body) is None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"message": "the context length is 5"}, 400),
        ({"message": "m", "type": "BadRequestError"}, 400),
        ({"message": "m", "code": 429}, 429),
        ({"message": "m", "code": "content_filter"}, 400),
        ({"message": "CUDA out of memory"}, 500),
        ({"message": "m", "code": 502}, 502),
    ],
)
def test_error_inside_an_answer_stands_for_a_status(error: dict[str, Any], status: int) -> None:
    assert inner_status(json.dumps({"error": error}).encode()) == status


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([(b"retry-after", b"7")], 7.0),
        ([(b"retry-after", b"7"), (b"retry-after-ms", b"6500")], 6.5),
        ([(b"retry-after", b"86400")], 3600.0),
        ([(b"retry-after", b"Wed, 21 Oct 2015 07:28:00 GMT")], 0.0),
        ([(b"retry-after", b"soon")], None),
        ([(b"retry-after", b"nan")], None),
        ([], None),
    ],
)
def test_rest_that_a_refusal_asks_for(headers: list[tuple[bytes, bytes]], seconds: float | None) -> None:
    assert wanted_rest(headers) == seconds
