"""What becomes of a record: a task with the record's own key, or never one."""

import json
from typing import Any

import pytest

from penstock.domain.durable.streams import StreamRecord
from penstock.processes.streams.records import InvalidRecord, TaskTemplate
from penstock.processes.streams.subjects import overlap

PAYLOADS = TaskTemplate("orders", {"kind": "function", "name": "count", "tags": ["more"]})
WHOLE = TaskTemplate("orders", {"kind": "function", "queue": "low"}, whole=True)


def task(template: TaskTemplate, value: bytes | None, position: str = "kafka:in:0:7@1") -> Any:
    return json.loads(bytes(template.task(StreamRecord(position, value))))


def test_record_becomes_the_payload_of_a_task() -> None:
    assert task(PAYLOADS, b'{"text": "a"}') == {
        "kind": "function",
        "name": "count",
        "payload": {"text": "a"},
        "tags": ["stream:orders", "more"],
        "idempotency_key": "stream:orders:kafka:in:0:7@1",
    }


def test_record_becomes_a_task_with_all_its_fields() -> None:
    assert task(WHOLE, b'{"name": "count", "payload": [1], "tags": ["a"], "queue": "high"}') == {
        "kind": "function",
        "queue": "high",
        "name": "count",
        "payload": [1],
        "tags": ["stream:orders", "a"],
        "idempotency_key": "stream:orders:kafka:in:0:7@1",
    }


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "no_value"),
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"NaN", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'"' + b"x" * 1_000_000 + b'"', "payload_too_large"),
    ],
)
def test_record_that_is_no_valid_payload_is_refused(value: bytes | None, code: str) -> None:
    with pytest.raises(InvalidRecord) as refused:
        task(PAYLOADS, value)
    assert refused.value.code == code


@pytest.mark.parametrize("value", [b"[]", b'"text"', b"null", b'{"idempotency_key": "mine"}', b'{"ref": "a"}', b'{"tasks": []}'])
def test_record_that_is_no_valid_task_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidRecord) as refused:
        task(WHOLE, value)
    assert refused.value.code == "no_task"


def test_blanks_do_not_make_a_payload_too_large() -> None:
    assert task(PAYLOADS, b"[1" + b" " * 1_000_000 + b"]")["payload"] == [1]


def test_a_long_position_still_gives_a_key_of_its_own() -> None:
    keys = {task(PAYLOADS, b"1", f"kafka:{'t' * 249}:0:{offset}@1")["idempotency_key"] for offset in range(3)}
    assert len(keys) == 3
    assert all(len(key) <= 200 for key in keys)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("orders", "orders", True),
        ("orders", "orders.dead", False),
        ("orders.>", "orders.dead", True),
        ("orders.>", "orders", False),
        ("orders.*", "orders.dead", True),
        ("orders.*", "orders.dead.now", False),
        (">", "anything", True),
        ("a.*.c", "a.b.d", False),
    ],
)
def test_subjects_that_have_a_message_in_common(one: str, other: str, expected: bool) -> None:
    assert (overlap(one, other), overlap(other, one)) == (expected, expected)
