"""The header lines of an answer, each with its CRLF; framing is the edge's.

`x-penstock-decision` is the request's id, under which its decision can be asked for, and the decision in short:

    id;class=C;pool=P;policy=Y;worker=W;wait=SECONDS;tries=N     answered by a worker
    id;class=C;queued                                            a stream that got its head while it was still waiting
    id;class=C;refused=CODE;wait=SECONDS;tries=N                 refused with that error code
    id;class=C;replayed                                          answered from its Idempotency-Key
    id;refused=CODE                                              refused before it was known whose it is
"""

from functools import lru_cache
from typing import Final, TypeVar

from penstock.domain.principal import Pool, ServiceClass
from penstock.wire.decimals import decimal

Key = TypeVar("Key")

JSON: Final = b"content-type: application/json\r\n"
EVENTS: Final = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"


def identity(request_id: str, client_request_id: str, decision: bytes) -> bytes:
    """The request's id as the client knows it, and its decision, which begins with a semicolon."""
    return b"x-request-id: %b\r\nx-penstock-decision: %b%b\r\n" % (
        (client_request_id or request_id).encode("ascii"),
        request_id.encode("ascii"),
        decision,
    )


_MOST_KEPT: Final = 4096
_PLACED: Final[dict[tuple[str, Pool], bytes]] = {}
_WHOLE: Final[dict[tuple[str, Pool], bytes]] = {}
_CHOSEN: Final[dict[tuple[ServiceClass, Pool, str, str], bytes]] = {}
_AT_ONCE: Final[dict[tuple[ServiceClass, Pool, str, str], bytes]] = {}
"""What these functions have answered. Not an `lru_cache`: to call one costs a compiled room more than the look-up does."""


def placed(worker_id: str, pool: Pool) -> bytes:
    return _PLACED.get((worker_id, pool)) or _keep(
        _PLACED,
        (worker_id, pool),
        b"x-penstock-pool: %b\r\nx-penstock-worker: %b\r\n" % (pool.value.encode("ascii"), worker_id.encode("ascii")),
    )


def whole(worker_id: str, pool: Pool) -> bytes:
    """Of an answer that is not a stream."""
    return _WHOLE.get((worker_id, pool)) or _keep(_WHOLE, (worker_id, pool), JSON + placed(worker_id, pool))


def chosen(service_class: ServiceClass, pool: Pool, policy: str, worker_id: str) -> bytes:
    """A decision's part that is the same for many requests."""
    key = (service_class, pool, policy, worker_id)
    return _CHOSEN.get(key) or _keep(
        _CHOSEN, key, f";class={service_class.name.lower()};pool={pool.value};policy={policy};worker={worker_id}".encode()
    )


def at_once(service_class: ServiceClass, pool: Pool, policy: str, worker_id: str) -> bytes:
    """The whole of the usual decision."""
    key = (service_class, pool, policy, worker_id)
    return _AT_ONCE.get(key) or _keep(_AT_ONCE, key, chosen(service_class, pool, policy, worker_id) + b";wait=0;tries=1")


def _keep(answers: dict[Key, bytes], key: Key, answer: bytes) -> bytes:
    if len(answers) >= _MOST_KEPT:
        answers.clear()
    answers[key] = answer
    return answer


def effort(wait_seconds: float, tries: int) -> bytes:
    """How long it waited in the queue, and how many workers were asked."""
    return b";wait=%.3f;tries=%d" % (wait_seconds, tries)


@lru_cache(maxsize=64)
def otherwise(service_class: ServiceClass, what: str) -> bytes:
    """The decision about a request that no worker has answered (yet)."""
    return f";class={service_class.name.lower()};{what}".encode()


def answered(request_id: str, client_request_id: str, decision: bytes, started: float, now: float, limits: bytes) -> bytes:
    """Who it is, what was decided, how long we took, and what the caller may still do (`limits`: the rate-limit lines)."""
    own = request_id.encode("ascii")
    return b"x-request-id: %b\r\nx-penstock-decision: %b%b\r\nopenai-processing-ms: %b\r\n%b" % (
        client_request_id.encode("ascii") if client_request_id else own,
        own,
        decision,
        decimal(int((now - started) * 1000)),
        limits,
    )
