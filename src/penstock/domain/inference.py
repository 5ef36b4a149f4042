"""A request for tokens, as the rooms between the edge and the workers see it."""

from enum import StrEnum

import msgspec

from penstock.domain.principal import ServiceClass


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


class TokenCount(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one request. `estimated` says that we counted, because the engine did not tell."""

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0
    estimated: bool = False


NO_TOKENS = TokenCount(0, 0)


class Call(msgspec.Struct, gc=False):
    """An inference request as it came in, before anybody has looked into its body."""

    request_id: str
    operation: Operation
    body: bytes
    timeout_seconds: float | None = None
    """How long the client will wait, as its SDK says; None: it did not say."""
    retry_count: int = 0
    """The client's own retries before this one."""
    idempotency_key: str | None = None
    client_request_id: str = ""
    """The `x-request-id` that the client sent, when it was a valid one; answers echo it."""
    service_class: ServiceClass | None = None
    """Set by a task, which runs at the class `batch` whatever its owner's plan; None: the plan's class."""


class Demand(msgspec.Struct, frozen=True, gc=False):
    """What a request asks for, as far as admission, scheduling and routing need to know it."""

    request_id: str
    operation: Operation
    model: str
    """As the client named it: a model id or an alias."""
    stream: bool
    prompt_tokens: int
    """Our estimate before any engine has seen it."""
    max_tokens: int
    """The most tokens it may make, over all choices; the default where the client set no limit."""
    service_tier: str | None = None
    deadline: float | None = None
    """Monotonic seconds after which the client no longer waits."""
    retry_count: int = 0
    """The client's own retries before this one, as its SDK reports them."""
