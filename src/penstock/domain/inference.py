"""A request for tokens, as the rooms between the edge and the workers see it."""

from enum import StrEnum


class Operation(StrEnum):
    """The inference calls; the value is OpenTelemetry's `gen_ai.operation.name`."""

    CHAT = "chat"
    COMPLETION = "text_completion"
    EMBEDDING = "embeddings"
    INFER = "infer"
    """Tensors in, tensors out (KServe's protocol); the word is ours, OpenTelemetry has none."""


OPERATION_NAMES = {operation: operation.value for operation in Operation}
"""Plain strings: an enum's `value` is a property, and too slow for what is asked for every request."""

OPERATION_PATHS = {
    Operation.CHAT: "/v1/chat/completions",
    Operation.COMPLETION: "/v1/completions",
    Operation.EMBEDDING: "/v1/embeddings",
    Operation.INFER: "/v1/infer",
}
"""Where a worker serves them, and the gateway as well, but for tensors: there clients name the model in the path,
`/v1/models/{model}/infer`, and the gateway puts it into the body, where every other operation has it."""

CLIENT_PATHS = {path: operation for operation, path in OPERATION_PATHS.items() if operation is not Operation.INFER}
"""What clients call under a path that is always the same."""
