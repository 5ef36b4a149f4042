"""The header lines of an answer, each with its CRLF; framing is the edge's."""

from functools import lru_cache

from penstock.domain.principal import Pool

JSON = b"content-type: application/json\r\n"
EVENTS = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"


def identity(request_id: str, client_request_id: str) -> bytes:
    """The request's id as the client knows it, and the id under which its decision can be asked for."""
    return b"x-request-id: %b\r\nx-penstock-decision: %b\r\n" % (
        (client_request_id or request_id).encode("ascii"),
        request_id.encode("ascii"),
    )


@lru_cache(maxsize=4096)
def placed(worker_id: str, pool: Pool) -> bytes:
    return b"x-penstock-pool: %b\r\nx-penstock-worker: %b\r\n" % (pool.value.encode("ascii"), worker_id.encode("ascii"))


@lru_cache(maxsize=4096)
def whole(worker_id: str, pool: Pool) -> bytes:
    """Of an answer that is no stream."""
    return JSON + placed(worker_id, pool)


def answered(request_id: str, client_request_id: str, started: float, now: float, limits: bytes) -> bytes:
    """Who it is, how long we took, and what the caller may still do (`limits`: the rate-limit lines)."""
    own = request_id.encode()
    return b"x-request-id: %b\r\nx-penstock-decision: %b\r\nopenai-processing-ms: %d\r\n%b" % (
        client_request_id.encode() if client_request_id else own,
        own,
        (now - started) * 1000,
        limits,
    )
