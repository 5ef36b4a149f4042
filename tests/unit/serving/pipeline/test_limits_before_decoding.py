"""What is asked before a body is looked at: requests a minute, concurrency, bytes a minute."""

from dataclasses import replace

import pytest

from penstock.domain.call import Call
from penstock.domain.errors import BadRequest, InvalidJson, RateLimited
from penstock.domain.inference import Operation
from penstock.domain.principal import KeyActor, ServiceClass
from penstock.serving.pipeline.arrival import FREE_BODY_BYTES
from tests.unit.serving.pipeline.pipeline_bench import PLAN, MemoryReply, PipelineBench

GOOD = b'{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":10}'


def bench_of(requests: int = 3, concurrency: int = 1000) -> PipelineBench:
    bench = PipelineBench(a=8)
    bench.principal = replace(bench.principal, plan=replace(PLAN, requests_per_minute=requests, concurrency=concurrency))
    return bench


def send(bench: PipelineBench, body: bytes, **fields: object) -> MemoryReply:
    call, reply = Call("req_1", Operation.CHAT, body), MemoryReply()
    for name, value in fields.items():
        setattr(call, name, value)
    bench.pipeline.run(bench.principal, call, reply)
    return reply


@pytest.mark.parametrize(
    "body",
    [b"no JSON", b'{"model":"m"}', b'{"model":"none","messages":[{"role":"user"}]}', b"[" * 100, GOOD.replace(b"10", b"-1")],
    ids=["no JSON", "no messages", "unknown model", "too deep", "bad value"],
)
def test_request_with_a_wrong_body_counts_as_a_request(body: bytes) -> None:
    bench = bench_of(requests=3)
    statuses = [send(bench, body).status for _ in range(5)]
    assert statuses[3:] == [429, 429]
    assert all(400 <= status <= 404 for status in statuses[:3])
    assert bench.leaks() == {}


class Packed:
    """A body that notes when it is unpacked."""

    def __init__(self, unpacked: bytes) -> None:
        self.unpacked = unpacked
        self.times = 0

    def __call__(self, packed: bytes) -> bytes:
        self.times += 1
        return self.unpacked


def test_packed_body_is_unpacked_only_for_a_request_that_may_enter() -> None:
    bench, packed = bench_of(requests=2), Packed(GOOD)
    replies = [send(bench, b"packed", prepare=packed) for _ in range(4)]
    assert [reply.status for reply in replies] == [0, 0, 429, 429]
    assert (packed.times, len(bench.sent)) == (2, 2)


def test_body_that_cannot_be_unpacked_counts_as_a_request() -> None:
    def broken(_: bytes) -> bytes:
        raise BadRequest("The request body cannot be unpacked.")

    bench = bench_of(requests=2)
    assert [send(bench, b"packed", prepare=broken).status for _ in range(3)] == [400, 400, 429]


def test_request_beyond_the_concurrency_is_refused_before_its_body_is_unpacked() -> None:
    bench, packed = bench_of(requests=100, concurrency=1), Packed(GOOD)
    send(bench, GOOD)
    reply = send(bench, b"packed", prepare=packed)
    assert (reply.status, packed.times) == (429, 0)


def large(size: int) -> bytes:
    return GOOD.replace(b'"x"', b'"' + b"x" * (size - len(GOOD) + 1) + b'"')


def test_large_bodies_share_the_bytes_of_a_minute_of_their_organisation() -> None:
    bench = bench_of(requests=128)  # 128 MiB a minute, as the least
    body = large(32 << 20)
    assert [send(bench, body).status for _ in range(4)] == [0] * 4
    bench.principal = replace(bench.principal, actor=KeyActor("another"))
    reply = send(bench, body)
    assert isinstance(reply.error, RateLimited)
    assert "134217728 bytes per minute for this organisation" in reply.error.message
    assert send(bench, GOOD).status == 0, "a small one costs none of them"
    bench.pass_time(60.0)
    assert send(bench, body).status == 0


def test_bytes_of_a_packed_body_are_those_that_it_unpacks_to() -> None:
    bench, packed = bench_of(requests=128), Packed(large(100 << 20))
    assert [send(bench, b"packed", prepare=packed).status for _ in range(2)] == [0, 429]


def test_large_body_with_too_many_fields_is_refused() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}]' + b',"a":1' * 60_000 + b"}"
    assert len(body) > FREE_BODY_BYTES
    error = send(bench_of(), body).error
    assert isinstance(error, InvalidJson)
    assert "50000 fields" in error.message


def test_calls_of_tasks_do_not_take_the_places_of_other_requests() -> None:
    bench = bench_of(requests=100, concurrency=2)
    tasks = [bench.ask(service_class=ServiceClass.BATCH)[1] for _ in range(3)]
    others = [bench.ask()[1] for _ in range(3)]
    assert [reply.status for reply in (*tasks, *others)] == [0, 0, 429, 0, 0, 429]
    assert tasks[2].error is not None
    assert "2 requests of tasks at the same time" in tasks[2].error.message
    for sent in bench.sent:
        sent.answer()
    assert bench.leaks() == {}


def test_repetition_of_an_idempotency_key_counts_as_a_request() -> None:
    bench = bench_of(requests=2)
    bench.ask(idempotency_key="a")
    bench.sent[0].answer()
    assert [bench.ask(idempotency_key="a")[1].status for _ in range(2)] == [200, 429]
