"""The committed OpenAPI document is the code's, is valid, and hides nothing that is served."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from penstock import __version__
from penstock.edge.application import ROUTERS, openapi_document

COMMITTED = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
METHODS = ("get", "put", "post", "delete", "patch")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document(__version__)


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Pairs of `method path` and operation."""
    return [(f"{method} {path}", item[method]) for path, item in document["paths"].items() for method in METHODS if method in item]


def test_the_committed_document_is_the_codes(document: dict[str, Any]) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    assert COMMITTED.read_text(encoding="utf-8") == text, "run `penstock openapi -o docs/reference/openapi.json`"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert named == document["components"]["schemas"].keys()


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))


def test_every_operation_has_a_summary_and_names_who_may_call(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["tags"], name
        signed = "x-penstock-signature" in {each["name"] for each in operation.get("parameters", [])}
        public = " /api" not in name and " /v1" not in name
        assert signed or public or operation["security"], name


def test_every_error_has_its_surfaces_shape(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            assert "x-request-id" in response["headers"], (name, status)
            if int(status) >= 400 and (" /api" in name or " /v1" in name):
                kind = "application/json" if " /v1" in name else "application/problem+json"
                assert list(response["content"]) == [kind], (name, status)


def test_no_body_takes_unknown_fields(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name, operation in operations(document):
        if "requestBody" in operation and " /api" in name:
            reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            assert schemas[reference.rpartition("/")[2]]["additionalProperties"] is False, name


def test_every_route_is_in_the_document(document: dict[str, Any]) -> None:
    for router in ROUTERS:
        for route in router.routes:
            if getattr(route, "include_in_schema", False):
                assert getattr(route, "path_format", None) in document["paths"]
