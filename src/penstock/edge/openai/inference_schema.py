"""The inference routes as the OpenAPI document shows them. The fast lane serves them; what it checks is in `wire/chat/requests.py`."""

from typing import Any

from penstock.edge.layers.documented_errors import openai_errors

Schema = dict[str, Any]


def paths() -> dict[str, Schema]:
    """Path items for `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings` and `/v1/models/{model}/infer`."""
    infer = _operation("infer", "Give tensors to a model", "InferRequest", "InferResponse", False)
    model = {"name": "model", "in": "path", "required": True, "description": "A model id or an alias.", "schema": _STRING}
    infer["parameters"] = [model, *infer["parameters"]]
    return {
        "/v1/chat/completions": {
            "post": _operation("create_chat_completion", "Answer a conversation", "ChatRequest", "ChatCompletion", True)
        },
        "/v1/completions": {"post": _operation("create_completion", "Continue a text", "CompletionRequest", "Completion", True)},
        "/v1/embeddings": {"post": _operation("create_embedding", "Embed texts", "EmbeddingRequest", "EmbeddingList", False)},
        "/v1/models/{model}/infer": {"post": infer},
    }


def schemas() -> dict[str, Schema]:
    """The components that the paths name."""
    return {
        "ChatRequest": _object({**_common(), **_sampling(), **_chat()}, ["model", "messages"], _PASSED_ON),
        "CompletionRequest": _object({**_common(), **_sampling(), **_completion()}, ["model", "prompt"], _PASSED_ON),
        "EmbeddingRequest": _object({**_common(), **_embedding()}, ["model", "input"], _PASSED_ON),
        "InferRequest": _object({"inputs": _tensors(64), "outputs": _names(), "id": _STRING}, ["inputs"], _TENSORS),
        "InferResponse": _object({"model_name": _STRING, "model_version": _STRING, "outputs": _tensors(None)}, ["outputs"]),
        "ChatCompletion": _answer("chat.completion", {"index": _INT, "message": {"type": "object"}, "finish_reason": _REASON}),
        "Completion": _answer("text_completion", {"index": _INT, "text": _STRING, "finish_reason": _REASON}),
        "EmbeddingList": _embeddings(),
        "Usage": _usage(),
        "OpenAIError": _error(),
    }


_PASSED_ON = "Fields that are not listed are passed on to the engine untouched."
_STRING: Schema = {"type": "string"}
_INT: Schema = {"type": "integer"}
_BOOL: Schema = {"type": ["boolean", "null"]}
_REASON: Schema = {"type": ["string", "null"], "description": "stop, length, tool_calls, content_filter."}


_TENSORS = "KServe's inference protocol (v2) in JSON; checked against what the model says of itself."
_DATATYPES = [*(f"{kind}{bits}" for kind in ("UINT", "INT") for bits in (8, 16, 32, 64)), "BOOL", "FP16", "BF16", "FP32", "FP64", "BYTES"]


def _tensors(most: int | None) -> Schema:
    tensor: dict[str, Schema] = {
        "name": {"type": "string", "minLength": 1, "maxLength": 256},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": 16},
        "datatype": {"enum": _DATATYPES},
        "data": {"type": "array", "items": {}, "description": "Nested like the shape, or flat in row-major order."},
    }
    schema: Schema = {"type": "array", "items": _object(tensor, ["name", "shape", "datatype", "data"])}
    return schema if most is None else {**schema, "minItems": 1, "maxItems": most}


def _names() -> Schema:
    description = "The outputs that are wanted; without it, all of them."
    return {"type": "array", "items": _object({"name": _STRING}, ["name"]), "maxItems": 64, "description": description}


def _object(properties: dict[str, Schema], required: list[str], description: str = "") -> Schema:
    schema: Schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": True}
    return {**schema, "description": description} if description else schema


def _number(low: float, high: float, kind: str = "number") -> Schema:
    return {"type": [kind, "null"], "minimum": low, "maximum": high}


def _common() -> dict[str, Schema]:
    return {
        "model": {"type": "string", "minLength": 1, "maxLength": 256, "description": "A model id or an alias."},
        "user": {"type": ["string", "null"]},
        "service_tier": {
            "enum": ["auto", "default", "flex", "priority", "fast", "scale", None],
            "description": "Placement and price. The answer names the tier that was served.",
        },
    }


def _sampling() -> dict[str, Schema]:
    options = {"type": ["object", "null"], "properties": {"include_usage": _BOOL}}
    return {
        "stream": _BOOL,
        "stream_options": {**options, "description": "`include_usage`: one more last chunk with the usage."},
        "max_tokens": _number(1, 10_000_000, "integer"),
        "n": _number(1, 128, "integer"),
        "stop": {"anyOf": [_STRING, {"type": "array", "items": _STRING, "maxItems": 4}, {"type": "null"}]},
        "seed": {"type": ["integer", "null"]},
        "temperature": _number(0, 2),
        "top_p": _number(0, 1),
        "presence_penalty": _number(-2, 2),
        "frequency_penalty": _number(-2, 2),
        "logit_bias": {"type": ["object", "null"], "additionalProperties": {"type": "number"}},
    }


def _chat() -> dict[str, Schema]:
    message = _object({"role": _STRING, "content": {}}, ["role"])
    return {
        "messages": {"type": "array", "minItems": 1, "items": message},
        "max_completion_tokens": _number(1, 10_000_000, "integer"),
        "logprobs": _BOOL,
        "top_logprobs": _number(0, 20, "integer"),
        "tools": {"type": ["array", "null"], "maxItems": 128, "items": {}},
        "tool_choice": {},
        "parallel_tool_calls": _BOOL,
        "response_format": {"type": ["object", "null"], "description": "text, json_object or json_schema."},
        "reasoning_effort": {"type": ["string", "null"]},
        "metadata": {"type": ["object", "null"], "maxProperties": 16, "additionalProperties": {"type": "string", "maxLength": 512}},
        "safety_identifier": {"type": ["string", "null"]},
        "prompt_cache_key": {"type": ["string", "null"]},
        "store": _BOOL,
    }


def _completion() -> dict[str, Schema]:
    tokens = {"type": "array", "items": _INT}
    return {
        "prompt": {"anyOf": [_STRING, {"type": "array", "items": {"anyOf": [_STRING, _INT, tokens]}}]},
        "best_of": _number(1, 20, "integer"),
        "echo": _BOOL,
        "logprobs": _number(0, 20, "integer"),
        "suffix": {"type": ["string", "null"]},
    }


def _embedding() -> dict[str, Schema]:
    tokens = {"type": "array", "items": _INT}
    return {
        "input": {
            "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "minItems": 1, "items": {"anyOf": [_STRING, _INT, tokens]}}]
        },
        "encoding_format": {"enum": ["float", "base64", None]},
        "dimensions": _number(1, 65_536, "integer"),
    }


def _answer(kind: str, choice: dict[str, Schema]) -> Schema:
    fields: dict[str, Schema] = {
        "id": _STRING,
        "object": {"const": kind},
        "created": {"type": "integer", "description": "Unix seconds."},
        "model": _STRING,
        "choices": {"type": "array", "items": _object(choice, list(choice))},
        "usage": {"$ref": "#/components/schemas/Usage"},
        "service_tier": {"enum": ["default", "priority", "flex", "scale"], "description": "The tier that was served."},
    }
    return _object(fields, ["id", "object", "created", "model", "choices"])


def _embeddings() -> Schema:
    vector: Schema = {"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string", "description": "base64 of float32."}]}
    item = _object({"object": {"const": "embedding"}, "index": _INT, "embedding": vector}, ["object", "index", "embedding"])
    fields: dict[str, Schema] = {
        "object": {"const": "list"},
        "data": {"type": "array", "items": item},
        "model": _STRING,
        "usage": {"$ref": "#/components/schemas/Usage"},
    }
    return _object(fields, ["object", "data", "model"])


def _usage() -> Schema:
    details = {
        "prompt_tokens_details": _object({"cached_tokens": _INT}, []),
        "completion_tokens_details": _object({"reasoning_tokens": _INT}, []),
    }
    return _object({"prompt_tokens": _INT, "completion_tokens": _INT, "total_tokens": _INT, **details}, ["prompt_tokens", "total_tokens"])


def _error() -> Schema:
    nullable: Schema = {"type": ["string", "null"]}
    inner = _object({"message": _STRING, "type": _STRING, "param": nullable, "code": nullable}, ["message", "type", "param", "code"])
    return _object({"error": inner}, ["error"])


_HEADERS: dict[str, str] = {
    "openai-processing-ms": "Milliseconds from the request's arrival to the first byte of the answer.",
    "x-ratelimit-limit-requests": "Requests a minute.",
    "x-ratelimit-limit-tokens": "Tokens a minute.",
    "x-ratelimit-remaining-requests": "Requests that could be made at once.",
    "x-ratelimit-remaining-tokens": "Tokens that could be used at once.",
    "x-ratelimit-reset-requests": "Until the limit is whole again, such as `1s` or `6m0s`.",
    "x-ratelimit-reset-tokens": "Until the limit is whole again, such as `1s` or `6m0s`.",
    "RateLimit-Policy": "The same limits as the IETF draft writes them.",
    "RateLimit": "What remains, as the IETF draft writes it.",
    "x-penstock-pool": "The pool that the request was placed in.",
    "x-penstock-worker": "The worker that answered.",
}


def _operation(name: str, summary: str, request: str, response: str, streams: bool) -> Schema:
    content: Schema = {"application/json": {"schema": {"$ref": f"#/components/schemas/{response}"}}}
    if streams:
        stream = 'Chunks as `data:` lines, then `data: [DONE]`; after a failure in mid-stream one `data: {"error": ...}` and the end.'
        content["text/event-stream"] = {"schema": {"type": "string", "description": stream}}
    answer = {"description": "The answer.", "content": content, "headers": {name: _header(text) for name, text in _HEADERS.items()}}
    errors = {str(status): error for status, error in openai_errors(400, 404, 408, 409, 413, 502, 504).items()}
    return {
        "tags": ["Inference"],
        "summary": summary,
        "operationId": name,
        "parameters": [_idempotency_key()],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{request}"}}}},
        "responses": {"200": answer, **errors},
    }


def _header(text: str) -> Schema:
    return {"description": text, "schema": {"type": "string"}}


def _idempotency_key() -> Schema:
    text = "A repeated request with the same key and body gets the first one's answer again; with another body, 409."
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": text,
        "schema": {"type": "string", "maxLength": 255},
    }
