"""Repeated requests: replayed, told to wait, or refused; and how much is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.errors import BadRequest, IdempotencyConflict
from penstock.serving.admission.idempotency import LARGEST_ANSWER_BYTES, IdempotentAnswers, Replay, Ticket

CHAT = "/v1/chat/completions"
HEADERS = b"content-type: application/json\r\n"


def begin(answers: IdempotentAnswers, name: str = "n", body: bytes = b"{}", key_id: str = "key_1", now: float = 0.0) -> Replay | Ticket:
    return answers.begin(key_id, name, CHAT, body, now)


def ticket(answers: IdempotentAnswers, name: str = "n", now: float = 0.0) -> Ticket:
    found = begin(answers, name, now=now)
    assert isinstance(found, Ticket)
    return found


def test_a_finished_request_is_replayed() -> None:
    answers = IdempotentAnswers()
    ticket(answers).finish(200, HEADERS, b"answer", 1.0)
    assert begin(answers, now=2.0) == Replay(200, HEADERS + b"idempotent-replayed: true\r\n", b"answer")


def test_a_running_request_asks_for_patience() -> None:
    answers = IdempotentAnswers()
    first = ticket(answers)
    with pytest.raises(IdempotencyConflict) as refusal:
        begin(answers)
    assert (refusal.value.status, refusal.value.retry, refusal.value.retry_after_seconds) == (409, True, 1.0)
    first.abandon()
    assert isinstance(begin(answers), Ticket)


@pytest.mark.parametrize("finished", [False, True])
def test_another_body_or_path_is_refused_for_good(finished: bool) -> None:
    answers = IdempotentAnswers()
    first = ticket(answers)
    if finished:
        first.finish(200, b"", b"answer", 0.0)
    for path, body in ((CHAT, b'{"other":1}'), ("/v1/embeddings", b"{}")):
        with pytest.raises(IdempotencyConflict) as refusal:
            answers.begin("key_1", "n", path, body, 0.0)
        assert refusal.value.retry is False


def test_names_belong_to_their_key() -> None:
    answers = IdempotentAnswers()
    ticket(answers).finish(200, b"", b"secret", 0.0)
    assert isinstance(begin(answers, key_id="key_2"), Ticket)


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_a_failure_is_not_kept(status: int) -> None:
    answers = IdempotentAnswers()
    ticket(answers).finish(status, b"", b"sorry", 0.0)
    assert isinstance(begin(answers), Ticket)


def test_a_large_answer_is_not_kept() -> None:
    answers = IdempotentAnswers()
    ticket(answers, "large").finish(200, b"", b"x" * (LARGEST_ANSWER_BYTES + 1), 0.0)
    assert answers.stored_bytes == 0
    assert isinstance(begin(answers, "large"), Ticket)
    ticket(answers, "just right").finish(200, b"", b"x" * LARGEST_ANSWER_BYTES, 0.0)
    assert isinstance(begin(answers, "just right"), Replay)


def test_an_answer_expires() -> None:
    answers = IdempotentAnswers(ttl_seconds=10)
    ticket(answers).finish(200, b"", b"answer", 5.0)
    assert isinstance(begin(answers, now=14.9), Replay)
    ticket(answers, now=15.0).abandon()
    assert (len(answers), answers.stored_bytes) == (0, 0)


def test_expired_answers_leave_as_new_ones_come() -> None:
    answers = IdempotentAnswers(ttl_seconds=10)
    for second in range(100):
        ticket(answers, f"n{second}", now=float(second)).finish(200, b"", b"answer", float(second))
    assert len(answers) == 10


def test_the_answer_unused_for_longest_goes_first() -> None:
    answers = IdempotentAnswers(max_bytes=3 * 2000)
    for name in ("a", "b", "c"):
        ticket(answers, name).finish(200, b"", b"x" * 1300, 0.0)
    begin(answers, "a")
    ticket(answers, "d").finish(200, b"", b"x" * 1300, 0.0)
    assert [isinstance(begin(answers, name), Replay) for name in ("a", "b", "c", "d")] == [True, False, True, True]


def test_a_ticket_ends_once() -> None:
    answers = IdempotentAnswers()
    first = ticket(answers)
    first.abandon()
    second = ticket(answers)
    first.finish(200, b"", b"late", 0.0)
    first.abandon()
    with pytest.raises(IdempotencyConflict):
        begin(answers)
    second.finish(200, b"", b"answer", 0.0)
    assert isinstance(begin(answers), Replay)


@pytest.mark.parametrize("name", ["", "x" * 256, "line\nbreak", "ü"])
def test_an_unusable_name(name: str) -> None:
    with pytest.raises(BadRequest):
        begin(IdempotentAnswers(), name)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3000), st.floats(0, 30)), max_size=80))
def test_bytes_are_bounded_and_counted_right(steps: list[tuple[int, int, float]]) -> None:
    answers = IdempotentAnswers(ttl_seconds=60, max_bytes=8000)
    now = 0.0
    for name, size, pause in steps:
        now += pause
        found = begin(answers, str(name), now=now)
        if isinstance(found, Ticket):
            found.finish(200, b"", bytes(size), now)
        assert 0 <= answers.stored_bytes <= 8000
    if not len(answers):
        assert answers.stored_bytes == 0


def test_refusals_name_the_header() -> None:
    answers = IdempotentAnswers()
    with pytest.raises(BadRequest) as bad:
        begin(answers, "")
    assert (bad.value.param, str(bad.value)) == ("Idempotency-Key", "Idempotency-Key must be 1 to 255 printable ASCII characters.")
    ticket(answers)
    with pytest.raises(IdempotencyConflict) as other:
        begin(answers, body=b"another")
    assert (other.value.param, other.value.retry) == ("Idempotency-Key", False)


def test_path_and_body_are_told_apart_where_they_meet() -> None:
    """The same bytes in one row, divided elsewhere, are another request."""
    answers = IdempotentAnswers()
    answers.begin("key_1", "n", "/v1/a", b"b", 0.0)
    with pytest.raises(IdempotencyConflict) as refusal:
        answers.begin("key_1", "n", "/v1/ab", b"", 0.0)
    assert refusal.value.retry is False


@pytest.mark.parametrize(("status", "kept"), [(199, False), (200, True), (299, True), (300, False)])
def test_answer_is_kept_for_the_statuses_of_success(status: int, kept: bool) -> None:
    answers = IdempotentAnswers()
    ticket(answers).finish(status, HEADERS, b"answer", 1.0)
    assert isinstance(begin(answers, now=2.0), Replay) is kept


def test_answer_counts_with_its_headers_and_600_bytes() -> None:
    answers = IdempotentAnswers()
    ticket(answers).finish(200, HEADERS, b"answer", 1.0)
    assert answers.stored_bytes == 600 + len(HEADERS) + len(b"idempotent-replayed: true\r\n") + len(b"answer")


def test_answer_that_fills_the_memory_exactly_is_kept_and_a_larger_one_evicts_nothing() -> None:
    size = 600 + len(HEADERS) + len(b"idempotent-replayed: true\r\n") + 10
    answers = IdempotentAnswers(max_bytes=size)
    ticket(answers, "fits").finish(200, HEADERS, b"x" * 10, 1.0)
    assert (isinstance(begin(answers, "fits"), Replay), answers.stored_bytes) == (True, size)
    ticket(answers, "larger").finish(200, HEADERS, b"x" * 11, 1.0)
    assert isinstance(begin(answers, "fits"), Replay), "it never had a chance, so it must not push others out"
    assert isinstance(begin(answers, "larger"), Ticket)


def test_fingerprint_has_16_bytes() -> None:
    """One is kept for each answer: memory is counted on it."""
    answers = IdempotentAnswers()
    ticket(answers)
    assert [len(fingerprint) for fingerprint in answers._running.values()] == [16]


def test_answer_that_expires_at_once_is_not_kept() -> None:
    answers = IdempotentAnswers(ttl_seconds=0.0)
    ticket(answers).finish(200, HEADERS, b"answer", 1.0)
    assert (len(answers), answers.stored_bytes, isinstance(begin(answers, now=1.0), Ticket)) == (0, 0, True)


def test_an_organisation_pushes_out_its_own_answers_and_no_other() -> None:
    answers = IdempotentAnswers(max_bytes=10 * 2000)

    def store(org_id: str, name: str) -> None:
        ticket = answers.begin(f"key_{org_id}", name, CHAT, b"b", 0.0, org_id)
        assert isinstance(ticket, Ticket)
        ticket.finish(200, b"", b"x" * 1300, 0.0)

    def kept(org_id: str, name: str) -> bool:
        found = answers.begin(f"key_{org_id}", name, CHAT, b"b", 1.0, org_id)
        if isinstance(found, Ticket):
            found.abandon()
        return isinstance(found, Replay)

    store("small", "first")
    store("small", "second")
    for number in range(100):
        store("large", str(number))
    assert (kept("small", "first"), kept("small", "second")) == (True, True)
    assert (kept("large", "99"), kept("large", "0")) == (True, False)
    assert answers.stored_bytes <= 10 * 2000
    for number in range(100):
        store("other", str(number))
    assert kept("small", "first"), "there is a share for each of those with many"
    assert answers.stored_bytes <= 10 * 2000
