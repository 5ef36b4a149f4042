"""How large the parts of a task may be: bytes are counted, not characters, and the limit itself is still allowed."""

import pytest

from penstock.durable.tasks.limits import PayloadTooLarge, check_payload, shortened, too_long

LIMIT = 1_000_000
TWO_BYTES = "é"


@pytest.mark.parametrize("text", ["", "x" * LIMIT, TWO_BYTES * (LIMIT // 2), "x" * (LIMIT // 4 + 1)])
def test_payload_of_at_most_a_million_bytes_is_accepted(text: str) -> None:
    assert check_payload(text) is text
    assert not too_long(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("x" * (LIMIT + 1), LIMIT + 1), (TWO_BYTES * (LIMIT // 2) + "x", LIMIT + 1), ("\U0001f600" * (LIMIT // 4) + "x", LIMIT + 1)],
    ids=["one byte a character", "two bytes a character", "four bytes a character"],
)
def test_payload_of_more_than_a_million_bytes_is_refused(text: str, size: int) -> None:
    with pytest.raises(PayloadTooLarge) as raised:
        check_payload(text, "tasks[3].payload")
    error = raised.value
    assert (error.code, error.status, error.param, error.retry) == ("payload_too_large", 413, "tasks[3].payload", False)
    assert f"at most {LIMIT} bytes of JSON, this one has {size}" in str(error)
    assert too_long(text)


def test_refused_payload_is_named_payload_by_default() -> None:
    with pytest.raises(PayloadTooLarge) as raised:
        check_payload("x" * (LIMIT + 1))
    assert raised.value.param == "payload"


def test_message_of_at_most_4000_characters_is_kept_whole() -> None:
    assert shortened("m" * 4_000) == "m" * 4_000


def test_longer_message_keeps_its_beginning_and_its_end() -> None:
    assert shortened("b" * 2_000 + "lost!" + "e" * 2_000) == "b" * 2_000 + "\n... 5 characters left out ...\n" + "e" * 2_000
