"""The messages of workers as bytes: gateways and workers of other versions read them, so that what is sent is compared whole."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from penstock.domain.workers import ModelOffer, WorkerLoad
from penstock.wire.joining.workers import Heartbeat, Hello, Join, LinkLine, decode_line, encode, encode_line

LOAD = WorkerLoad(running=2, waiting=1, kv_usage=1 / 3, ttft_seconds=0.5)
JOIN: dict[str, Any] = {
    "token": None,
    "name": "gpu-1",
    "engine": "sim",
    "base_url": "http://127.0.0.1:9000",
    "models": [{"id": "sim-small", "engine_name": "", "context_length": 4096, "capabilities": ["chat", "tools"]}],
    "slots": 8,
    "pool": "priority",
    "public_key": "k" * 44,
    "secret": "s" * 43,
    "version": "1.0",
    "host": "box-1",
}


def join(**fields: Any) -> Join:
    models = [ModelOffer("sim-small", "", 4096, ("chat", "tools"))]
    return Join.of(**{**JOIN, "models": models, **fields})


def test_join_as_sent_by_a_worker_has_exactly_these_fields() -> None:
    assert json.loads(encode(join())) == JOIN


def test_join_as_sent_by_a_worker_is_accepted_by_a_gateway() -> None:
    read = Join.model_validate_json(encode(join()))
    assert read.model_dump(mode="json") == JOIN
    assert [offer.offer() for offer in read.models] == [ModelOffer("sim-small", "", 4096, ("chat", "tools"))]


@pytest.mark.parametrize("wrong", [{"name": " gpu"}, {"slots": 0}, {"slots": "8"}, {"secret": "short"}, {"base_url": "ftp://x/yyyyy"}])
def test_worker_sends_what_only_the_gateway_refuses(wrong: dict[str, Any]) -> None:
    sent = encode(join(**wrong))
    assert wrong.items() <= json.loads(sent).items()
    with pytest.raises(ValidationError):
        Join.model_validate_json(sent)


def test_heartbeat_as_sent_by_a_worker_has_exactly_these_fields() -> None:
    sent = encode(Heartbeat.of(LOAD, draining=True))
    assert json.loads(sent) == {"running": 2, "waiting": 1, "kv_usage": 0.3333, "draining": True}


def test_heartbeat_of_an_engine_that_counts_wrong_is_sent_and_refused_by_the_gateway() -> None:
    sent = encode(Heartbeat.of(WorkerLoad(kv_usage=1.5), draining=False))
    with pytest.raises(ValidationError, match="kv_usage"):
        Heartbeat.model_validate_json(sent)


def test_heartbeat_with_a_time_to_first_token_is_read() -> None:
    read = Heartbeat.model_validate_json(b'{"running":2,"waiting":1,"kv_usage":0.5,"ttft_seconds":0.5}')
    assert read.load() == WorkerLoad(2, 1, 0.5, 0.5)


def test_link_lines_as_sent_by_a_worker_are_these_bytes() -> None:
    assert encode_line(Hello("hello", "wrk_1", 8, ["sim-small"])) == (
        b'{"type":"hello","worker_id":"wrk_1","slots":8,"models":["sim-small"]}\n'
    )
    assert encode_line(LinkLine.of(LOAD, draining=False)) == (
        b'{"type":"load","running":2,"waiting":1,"kv_usage":0.3333,"draining":false}\n'
    )


@pytest.mark.parametrize(
    ("line", "load"),
    [
        (b'{"type":"load","running":2,"waiting":1,"kv_usage":0.5,"draining":true}', WorkerLoad(2, 1, 0.5)),
        (b'{"type":"load"}', WorkerLoad()),
        (b'{"type":"hello","worker_id":"wrk_1","slots":8,"models":[]}', None),
        (b'{"type":"of a later version","what":1}', None),
    ],
)
def test_link_line_is_a_sign_of_life_and_tells_the_load_when_it_has_one(line: bytes, load: WorkerLoad | None) -> None:
    read = decode_line(line)
    assert read is not None
    assert read.load() == load


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"type":1}', b'{"running":1}', b'{"type":"load","running":"2"}'])
def test_malformed_link_line_is_ignored(line: bytes) -> None:
    assert decode_line(line) is None
