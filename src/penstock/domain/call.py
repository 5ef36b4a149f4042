"""An inference request as it came in, and what it asks for. Plain classes: compiled rooms read their fields like C structs."""

from collections.abc import Callable

from penstock.domain.inference import Operation
from penstock.domain.principal import ServiceClass


class Call:
    """A request before its body was read."""

    __slots__ = (
        "body",
        "client_request_id",
        "idempotency_key",
        "operation",
        "prepare",
        "request_id",
        "retry_count",
        "service_class",
        "timeout_seconds",
    )

    def __init__(
        self,
        request_id: str,
        operation: Operation,
        body: bytes,
        timeout_seconds: float | None = None,
        retry_count: int = 0,
        idempotency_key: str | None = None,
        client_request_id: str = "",
        service_class: ServiceClass | None = None,
    ) -> None:
        self.request_id = request_id
        self.operation = operation
        self.body = body
        self.prepare: Callable[[bytes], bytes] | None = None
        """Makes JSON of the bytes that came, when the first limits have let them in; None: they are JSON. Raises PenstockError."""
        self.timeout_seconds = timeout_seconds
        """How long the client will wait, as its SDK says; None: it did not say."""
        self.retry_count = retry_count
        """The client's own retries before this one."""
        self.idempotency_key = idempotency_key
        self.client_request_id = client_request_id
        """The `x-request-id` that the client sent, when it was a valid one; answers echo it."""
        self.service_class = service_class
        """Set by a task, which runs at the class `batch` under any plan of its owner; None: the plan's class."""


class Demand:
    """What a request asks for, as far as admission, scheduling and routing need to know it. It is not changed."""

    __slots__ = (
        "deadline",
        "max_tokens",
        "model",
        "operation",
        "prompt_tokens",
        "request_id",
        "retry_count",
        "service_tier",
        "stream",
    )

    def __init__(
        self,
        request_id: str,
        operation: Operation,
        model: str,
        stream: bool,
        prompt_tokens: int,
        max_tokens: int,
        service_tier: str | None = None,
        deadline: float | None = None,
        retry_count: int = 0,
    ) -> None:
        self.request_id = request_id
        self.operation = operation
        self.model = model
        """As the client named it: a model id or an alias."""
        self.stream = stream
        self.prompt_tokens = prompt_tokens
        """Our estimate before any engine has seen it."""
        self.max_tokens = max_tokens
        """The most tokens it may make, over all choices; the default where the client set no limit."""
        self.service_tier = service_tier
        self.deadline = deadline
        """Monotonic seconds after which the client no longer waits."""
        self.retry_count = retry_count
        """The client's own retries before this one, as its SDK reports them."""
