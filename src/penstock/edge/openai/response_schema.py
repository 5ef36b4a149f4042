"""The Responses API in the OpenAPI document: what is supported of it."""

from typing import Any

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_NULLABLE_TEXT: Schema = {"type": ["string", "null"]}
_FLAG: Schema = {"type": ["boolean", "null"]}
_MESSAGE: Schema = {
    "type": "object",
    "required": ["role", "content"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "message"},
        "role": {"enum": ["user", "assistant", "system", "developer"]},
        "content": {"anyOf": [_TEXT, {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/ResponseText"}}]},
    },
}
_PART: Schema = {
    "type": "object",
    "required": ["type", "text"],
    "additionalProperties": False,
    "properties": {"type": {"enum": ["input_text", "output_text"]}, "text": _TEXT},
    "description": "Images (`input_image` with `image_url`) and audio (`input_audio`) go on to the model as they are.",
}
_TOOL: Schema = {
    "type": "object",
    "required": ["type", "name"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "function"},
        "name": {"type": "string", "minLength": 1, "maxLength": 64},
        "description": _NULLABLE_TEXT,
        "parameters": {"type": ["object", "null"]},
        "strict": _FLAG,
    },
}
_REQUEST: Schema = {
    "type": "object",
    "required": ["model", "input"],
    "additionalProperties": False,
    "properties": {
        "model": {"type": "string", "minLength": 1, "maxLength": 256},
        "input": {
            "anyOf": [_TEXT, {"type": "array", "minItems": 1, "items": _MESSAGE}],
            "description": "A text, or items: messages, `function_call`, `function_call_output`, `reasoning`, `item_reference`.",
        },
        "instructions": _NULLABLE_TEXT,
        "background": {"type": ["boolean", "null"], "description": "Needs `store`, excludes `stream`."},
        "client_metadata": {"type": ["object", "null"], "description": "Without effect."},
        "include": {"type": ["array", "null"], "items": {"enum": ["message.output_text.logprobs", "reasoning.encrypted_content"]}},
        "max_output_tokens": {"type": ["integer", "null"], "minimum": 1, "maximum": 10_000_000},
        "metadata": {
            "type": ["object", "null"],
            "maxProperties": 16,
            "propertyNames": {"maxLength": 64},
            "additionalProperties": {"type": "string", "maxLength": 512},
        },
        "parallel_tool_calls": _FLAG,
        "previous_response_id": _NULLABLE_TEXT,
        "prompt_cache_key": _NULLABLE_TEXT,
        "reasoning": {
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": {
                "effort": _NULLABLE_TEXT,
                "summary": {"enum": ["auto", "concise", "detailed", None], "description": "Without effect."},
            },
        },
        "safety_identifier": _NULLABLE_TEXT,
        "service_tier": {"enum": ["auto", "default", "flex", "priority", "fast", "scale", None]},
        "store": {"type": ["boolean", "null"], "description": "Kept for 30 days unless this is false."},
        "stream": _FLAG,
        "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2},
        "text": {
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": {
                "verbosity": {"enum": ["low", "medium", "high", None]},
                "format": {"$ref": "#/components/schemas/ResponseFormat"},
            },
        },
        "tool_choice": {"description": "`none`, `auto`, `required`, a function, or `allowed_tools`; not without `tools`."},
        "tools": {"type": ["array", "null"], "maxItems": 128, "items": {"$ref": "#/components/schemas/ResponseTool"}},
        "top_logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": 20},
        "top_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "truncation": {"enum": ["disabled", None]},
        "user": _NULLABLE_TEXT,
    },
}
_FORMAT: Schema = {
    "type": ["object", "null"],
    "required": ["type"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["text", "json_object", "json_schema"]},
        "name": {"type": "string", "description": "Of a `json_schema`, as are the following."},
        "schema": {"type": "object"},
        "strict": _FLAG,
        "description": _TEXT,
    },
}
_RESPONSE: Schema = {
    "type": "object",
    "required": ["id", "object", "created_at", "status", "model", "output", "error", "usage"],
    "properties": {
        "id": _TEXT,
        "object": {"const": "response"},
        "created_at": {"type": "integer"},
        "status": {"enum": ["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]},
        "model": _TEXT,
        "output": {"type": "array", "items": {"type": "object"}},
        "error": {"type": ["object", "null"]},
        "usage": {"type": ["object", "null"]},
    },
    "description": "OpenAI's Response object.",
}
_JSON: Schema = {"application/json": {"schema": {"$ref": "#/components/schemas/Response"}}}

_ASKED: Schema = {"schema": {"$ref": "#/components/schemas/ResponseRequest"}}

BODY: Schema = {"requestBody": {"required": True, "content": {"application/json": _ASKED}}}
SHOWN: Schema = {"description": "The answer as it is now.", "content": _JSON}
ANSWER: Schema = {
    "description": "The answer, or with `stream` its events: exactly one of `response.completed`, `.incomplete` and `.failed` is the last.",
    "content": {**_JSON, "text/event-stream": {"schema": _TEXT}},
}


def schemas() -> dict[str, Schema]:
    return {
        "Response": _RESPONSE,
        "ResponseFormat": _FORMAT,
        "ResponseRequest": _REQUEST,
        "ResponseText": _PART,
        "ResponseTool": _TOOL,
    }
