"""Every exception becomes an answer in the right shape, and nothing internal is in it."""

import json
from collections.abc import Mapping

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from penstock.domain import errors
from penstock.edge.layers.problems import InvalidFields, answer, as_error, printable


def subclasses(kind: type[errors.PenstockError]) -> list[type[errors.PenstockError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in subclasses(child))]


OURS = [kind for kind in subclasses(errors.PenstockError) if kind not in (InvalidFields, errors.EngineRefusal)]
"""Those with a status and a code of their own, and no further arguments."""


@pytest.mark.parametrize("kind", OURS)
def test_control_errors_are_problem_documents(kind: type[errors.PenstockError]) -> None:
    response = answer(kind("what to do", param="name"), "/api/keys", "req_1")
    assert response.status_code == kind.status
    assert response.headers["content-type"] == "application/problem+json"
    document = json.loads(bytes(response.body))
    assert document.pop("title")
    assert document == {
        "type": "about:blank",
        "status": kind.status,
        "detail": "what to do",
        "code": kind.code,
        "request_id": "req_1",
        "param": "name",
    }


@pytest.mark.parametrize("kind", OURS)
def test_v1_errors_have_openais_shape(kind: type[errors.PenstockError]) -> None:
    response = answer(kind("what to do"), "/v1/models", "req_1")
    assert response.status_code == kind.status
    assert response.headers["content-type"] == "application/json"
    assert json.loads(bytes(response.body)) == {"error": {"message": "what to do", "type": kind.type, "param": None, "code": kind.code}}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, ("invalid_request_error", "invalid_request_error")),
        ({"kind": "their_type", "code": "their_code"}, ("their_type", "their_code")),
    ],
)
def test_refusal_of_an_engine_keeps_its_status_type_and_code(given: dict[str, str], shown: tuple[str, str]) -> None:
    response = answer(errors.EngineRefusal("too long", status=422, param="max_tokens", **given), "/v1/chat/completions", "req_1")
    error = json.loads(bytes(response.body))["error"]
    assert (response.status_code, error["message"], error["param"]) == (422, "too long", "max_tokens")
    assert (error["type"], error["code"]) == shown


def test_a_delay_is_told_in_both_units() -> None:
    response = answer(errors.RateLimited("wait", retry_after_seconds=1.5), "/api/me", "req_1")
    assert (response.headers["retry-after"], response.headers["retry-after-ms"]) == ("2", "1500")


def test_a_missing_key_names_the_scheme() -> None:
    assert answer(errors.Unauthenticated("no key"), "/api/me", "req_1").headers["www-authenticate"].startswith("Bearer")


def test_an_unreachable_store_says_when_to_come_back() -> None:
    error = as_error(errors.PortUnavailable("connection to server at 127.0.0.1 refused"), "/api/me")
    assert (error.status, error.code, error.retry_after_seconds) == (503, "store_unavailable", 2.0)
    assert "127.0.0.1" not in error.message


def test_an_unknown_exception_tells_nothing() -> None:
    error = as_error(RuntimeError("/etc/shadow: SELECT secret FROM worker"), "/api/me")
    assert (error.status, error.code) == (500, "internal_error")
    assert "shadow" not in error.message


@pytest.mark.parametrize(
    ("status", "code"), [(404, "not_found"), (405, "method_not_allowed"), (413, "request_too_large"), (418, "internal_error")]
)
def test_the_frameworks_errors_get_our_codes(status: int, code: str) -> None:
    assert as_error(HTTPException(status), "/api/x").code == code


def invalid(*errors_: Mapping[str, object]) -> RequestValidationError:
    return RequestValidationError(list(errors_))


UNKNOWN = {"type": "extra_forbidden", "loc": ("body", "admin"), "msg": "Extra inputs are not permitted", "input": "psk-secret"}
MISSING = {"type": "missing", "loc": ("body", "name"), "msg": "Field required", "input": {}}


def test_an_unknown_field_is_named_and_its_value_is_not() -> None:
    error = as_error(invalid(UNKNOWN, MISSING), "/api/keys")
    response = answer(error, "/api/keys", "req_1")
    document = json.loads(bytes(response.body))
    assert (response.status_code, document["param"]) == (422, "admin")
    assert document["errors"] == [
        {"param": "admin", "detail": "there is no such field."},
        {"param": "name", "detail": "the field is required."},
    ]
    assert b"psk-secret" not in bytes(response.body)


def test_v1_answers_a_validation_error_with_400() -> None:
    error = as_error(invalid(MISSING), "/v1/models")
    assert (error.status, error.type, error.param) == (400, "invalid_request_error", "name")


def test_broken_json_is_400_everywhere() -> None:
    broken = invalid({"type": "json_invalid", "loc": ("body", 3), "msg": "JSON decode error", "input": {}})
    assert as_error(broken, "/api/keys").code == "invalid_json"
    assert as_error(broken, "/v1/models").code == "invalid_json"


def test_a_body_that_is_no_object_is_explained() -> None:
    error = as_error(invalid({"type": "model_attributes_type", "loc": ("body",), "msg": "...", "input": 1}), "/api/keys")
    assert "JSON object" in error.message


def test_a_callers_text_is_repeated_without_control_characters() -> None:
    assert printable("/a\r\nb\x00") == "/a??b?"
    assert len(printable("x" * 1000)) == 203
