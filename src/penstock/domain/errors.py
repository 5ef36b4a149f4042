"""The one tree of errors that a caller may see.

Each class fixes its HTTP status, OpenAI `type` and stable `code`; the edge turns an instance into the answer
(`wire/errors.py` has the two shapes). A message is written for the caller: it never names a host, path or query.
"""


class PenstockError(Exception):
    """An answer that is not a success. `retry` None leaves the decision to the client's own rules."""

    status: int = 500
    type: str = "server_error"
    code: str = "internal_error"
    from_engine: bool = False
    """The message is an engine's own: it may quote the request, so that only its caller may read it."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_seconds: float | None = None,
        retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        self.retry = retry

    @property
    def noted_message(self) -> str:
        """For logs and decisions, which hold nothing of a request."""
        return "The engine refused the request, for a reason that only the answer has." if self.from_engine else self.message


class BadRequest(PenstockError):
    """The request cannot be understood or asks for something impossible."""

    status, type, code = 400, "invalid_request_error", "invalid_request_error"


class InvalidJson(BadRequest):
    code = "invalid_json"


class ContextLengthExceeded(BadRequest):
    code = "context_length_exceeded"


class UnsupportedParameter(BadRequest):
    code = "unsupported_parameter"


class EngineRefusal(BadRequest):
    """The engine refused the request, with a status, a type and a code of its own."""

    def __init__(self, message: str, *, status: int, kind: str = "", code: str = "", param: str | None = None) -> None:
        """`kind`: its `type`."""
        super().__init__(message, param=param)
        self.status = status
        self.type = kind or BadRequest.type
        self.code = code or BadRequest.code


class BadHttp(BadRequest):
    """The bytes are not acceptable HTTP (framing, smuggling, forbidden characters)."""

    code = "bad_http_request"


class Unauthenticated(PenstockError):
    status, type, code = 401, "authentication_error", "invalid_api_key"


class PermissionDenied(PenstockError):
    status, type, code = 403, "permission_error", "permission_denied"


class NotFound(PenstockError):
    status, type, code = 404, "invalid_request_error", "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class MethodNotAllowed(PenstockError):
    status, type, code = 405, "invalid_request_error", "method_not_allowed"


class RequestTimeout(PenstockError):
    """The client was too slow to send its request."""

    status, type, code = 408, "invalid_request_error", "request_timeout"


class Conflict(PenstockError):
    status, type, code = 409, "invalid_request_error", "conflict"


class IdempotencyConflict(Conflict):
    """The same Idempotency-Key came with another body, or its first request is still running."""

    code = "idempotency_conflict"


class PreconditionFailed(PenstockError):
    """What was to be edited is not what the caller has looked at."""

    status, type, code = 412, "invalid_request_error", "precondition_failed"


class TooLarge(PenstockError):
    status, type, code = 413, "invalid_request_error", "request_too_large"


class RangeNotSatisfiable(PenstockError):
    """No byte of the file is in the range that was asked for."""

    status, type, code = 416, "invalid_request_error", "range_not_satisfiable"


class HeadersTooLarge(PenstockError):
    status, type, code = 431, "invalid_request_error", "request_headers_too_large"


class Unprocessable(PenstockError):
    """The control API's validation error; `/v1` answers 400 instead, as OpenAI does."""

    status, type, code = 422, "invalid_request_error", "validation_error"


class RateLimited(PenstockError):
    status, type, code = 429, "rate_limit_error", "rate_limit_exceeded"


class QuotaExhausted(PenstockError):
    status, type, code = 429, "insufficient_quota", "insufficient_quota"


class ResourceUnavailable(PenstockError):
    """Flex found no idle worker; nothing is billed."""

    status, type, code = 429, "rate_limit_error", "resource_unavailable"


class Internal(PenstockError):
    """Ours. The details are in the log under the request id, not in the answer."""


class NotSupported(PenstockError):
    """A way to send a request that this server does not implement."""

    status, type, code = 501, "invalid_request_error", "not_implemented"


class UpstreamFailed(PenstockError):
    """The worker broke its side of the exchange and no other could take over."""

    status, type, code = 502, "server_error", "upstream_error"


class Overloaded(PenstockError):
    status, type, code = 503, "server_error", "server_overloaded"


class StoreUnavailable(PenstockError):
    status, type, code = 503, "server_error", "store_unavailable"


class StorageFull(PenstockError):
    """The disk of the files is full: nothing of what was sent has been kept, what is there can be read and deleted."""

    status, type, code = 507, "server_error", "storage_full"


class DeadlineExceeded(PenstockError):
    status, type, code = 504, "server_error", "deadline_exceeded"


class PortUnavailable(Exception):
    """A port (store, shared state) could not be reached; the room that asked decides what it means for the caller."""
