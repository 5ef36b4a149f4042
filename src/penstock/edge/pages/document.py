"""The OpenAPI document: what FastAPI derives from the routes, and what it cannot know."""

from typing import Any

from fastapi import FastAPI

from penstock.edge.joining import runner_schema
from penstock.edge.joining.signed_paths import SIGNED_PATHS
from penstock.edge.openai import inference_schema, response_schema

Document = dict[str, Any]

_TEXT = """
Two surfaces on one port. `/v1` is OpenAI's API: point an unmodified SDK at it.
`/api` is the control API: organisations, keys, models, workers, usage.

Every call carries `Authorization: Bearer <API key>`;
on `/api` an administrator may also sign in with `Authorization: Basic <email:password>`.
Errors are `application/problem+json` (RFC 9457) under `/api` and have OpenAI's shape under `/v1`.
Every answer has an `x-request-id`.
""".strip()
_METHODS = ("get", "put", "post", "delete", "patch")
_REQUEST_ID = {"description": "Finds the request in the log; a valid one that the client sent is kept.", "schema": {"type": "string"}}
_SIGNATURE_HEADERS = {
    "x-penstock-timestamp": "Unix seconds; at most 300 s from the gateway's clock.",
    "x-penstock-nonce": "16 to 64 printable characters, new for each call.",
    "x-penstock-signature": "base64 of the Ed25519 signature over `METHOD\\nPATH\\nTIMESTAMP\\nNONCE\\nhex(sha256(body))`.",
}


def describe(app: FastAPI) -> None:
    """Make `app.openapi()` answer the whole document; it is built on the first call."""
    derive = app.openapi

    def whole() -> Document:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(derive())
        return app.openapi_schema

    app.openapi = whole  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _complete(document: Document) -> Document:
    document["info"]["description"] = _TEXT
    document["info"]["license"] = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    document["paths"] = dict(sorted({**document["paths"], **inference_schema.paths()}.items()))
    components = document.setdefault("components", {})
    ours = {**inference_schema.schemas(), **runner_schema.schemas(), **response_schema.schemas(), "Problem": _problem()}
    components["schemas"] = dict(sorted({**components.get("schemas", {}), **ours}.items()))
    components["securitySchemes"] = {
        "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key."},
        "adminUser": {"type": "http", "scheme": "basic", "description": "An administrator's e-mail and password; only under /api."},
    }
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's own shape of a 422; ours is Problem
        components["schemas"].pop(unused, None)
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                _complete_operation(path, item[method])
    return document


def _complete_operation(path: str, operation: Document) -> None:
    for response in operation["responses"].values():
        response.setdefault("headers", {})["x-request-id"] = _REQUEST_ID
    if path in SIGNED_PATHS:
        operation.setdefault("parameters", []).extend(_signature_parameters())
    elif path.startswith("/api/"):
        operation["security"] = [{"apiKey": []}, {"adminUser": []}]
    elif path.startswith("/v1/"):
        operation["security"] = [{"apiKey": []}]
        operation["responses"].pop("422", None)  # FastAPI adds it; `/v1` answers 400, as OpenAI does


def _signature_parameters() -> list[Document]:
    return [
        {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
        for name, text in _SIGNATURE_HEADERS.items()
    ]


def _problem() -> Document:
    text = {"type": "string"}
    fault = {"type": "object", "properties": {"param": text, "detail": text}, "required": ["param", "detail"]}
    properties = {
        "type": text,
        "title": text,
        "status": {"type": "integer"},
        "detail": {**text, "description": "A sentence for people."},
        "code": {**text, "description": "For programs; stable."},
        "request_id": text,
        "param": {**text, "description": "The field at fault."},
        "errors": {"type": "array", "items": fault, "description": "Every field at fault."},
    }
    required = ["type", "title", "status", "detail", "code", "request_id"]
    return {"type": "object", "properties": properties, "required": required, "description": "RFC 9457 problem details."}
