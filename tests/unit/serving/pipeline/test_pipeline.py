"""One request as a state machine: every way through it gives back what it took, and tells its client exactly one ending."""

import json
from dataclasses import replace
from functools import partial
from random import Random

import pytest

from penstock.domain.principal import ServiceClass
from penstock.domain.usage import Outcome
from penstock.serving.pipeline import PipelineRules
from penstock.serving.routing.retry_budget import RetryBudget
from tests.unit.serving.pipeline.pipeline_bench import MemoryReply, PipelineBench, SentRequest


def code(reply: MemoryReply) -> str:
    assert reply.error is not None
    return reply.error.code


def test_a_whole_answer() -> None:
    bench = PipelineBench(a=1)
    _, reply = bench.ask()
    bench.sent[0].answer()
    assert (reply.status, json.loads(reply.data)["usage"]["completion_tokens"]) == (200, 2)
    assert [(one.outcome, one.prompt_tokens, one.completion_tokens) for one in bench.journal.records] == [(Outcome.COMPLETED, 3, 2)]
    assert bench.leaks() == {}


def test_stream_is_metered_per_token_and_frees_its_slot() -> None:
    bench = PipelineBench(a=1)
    _, reply = bench.ask(stream=True)
    one = bench.sent[0]
    one.begin_stream()
    for number in range(3):
        one.token()
        assert bench.journal.slots[0].completion == number + 1
    one.end_stream()
    assert (reply.over, reply.terminal_events, reply.data.count(b'"content"')) == (True, 1, 3)
    assert [(one.outcome, one.completion_tokens, one.estimated) for one in bench.journal.records] == [(Outcome.COMPLETED, 3, False)]
    assert bench.leaks() == {}


def test_the_next_in_line_gets_the_slot() -> None:
    bench = PipelineBench(a=1)
    replies = [bench.ask()[1] for _ in range(3)]
    assert (len(bench.sent), bench.pipeline.queues()) == (1, {"m": 2})
    for number in range(3):
        bench.sent[number].answer()
        assert [reply.over for reply in replies] == [True] * (number + 1) + [False] * (2 - number)
    assert bench.leaks() == {}


def test_a_priority_request_does_not_wait_behind_those_without_its_reserve() -> None:
    bench = PipelineBench(_reserve=0.5, a=4)
    for _ in range(3):
        bench.ask()
    assert len(bench.sent) == 2, "two of four slots are kept"
    bench.ask(service_tier="priority")
    assert len(bench.sent) == 3, "a slot of its reserve is idle: it must not wait for another to end"


def test_a_new_worker_takes_those_who_wait() -> None:
    bench = PipelineBench(a=1)
    for _ in range(3):
        bench.ask()
    bench.join("b", 2)
    assert [one.worker_id for one in bench.sent] == ["a", "b", "b"]


def test_flex_is_not_refused_for_a_line_that_cannot_use_what_is_idle() -> None:
    bench = PipelineBench(a=1)
    bench.join("spare", 1, pool="overflow")
    bench.ask()
    _, waiting = bench.ask()
    _, flex = bench.ask(service_tier="flex")
    assert bench.sent[-1].worker_id == "spare"
    bench.sent[-1].answer()
    assert (flex.status, waiting.status) == (200, 0)
    bench.sent[0].answer()
    bench.sent[-1].answer()
    assert waiting.status == 200
    assert not any(bench.leaks().values())


def test_flex_does_not_wait() -> None:
    bench = PipelineBench(a=1)
    bench.ask()
    _, reply = bench.ask(service_tier="flex")
    assert (reply.status, code(reply)) == (429, "resource_unavailable")


def test_another_worker_answers() -> None:
    bench = PipelineBench(a=1, b=1)
    _, reply = bench.ask()
    first = bench.sent[0]
    first.fail()
    assert first.cancelled
    assert bench.sent[1].worker_id != first.worker_id
    bench.sent[1].answer()
    assert reply.status == 200
    assert bench.journal.records[0].retries == 1
    assert bench.leaks() == {}


def test_request_that_failed_on_every_worker_gets_upstream_error() -> None:
    bench = PipelineBench(a=1, b=1)
    _, reply = bench.ask()
    bench.sent[0].fail()
    bench.sent[1].fail("timeout")
    assert (reply.status, code(reply)) == (502, "upstream_error")
    assert bench.journal.records == []
    assert bench.leaks() == {}


def test_a_retry_that_must_wait_waits() -> None:
    bench = PipelineBench(a=1, b=1)
    replies = [bench.ask()[1] for _ in range(2)]
    bench.sent[0].fail()
    assert bench.pipeline.queues() == {"m": 1}
    bench.sent[1].answer()
    assert bench.sent[2].worker_id == bench.sent[1].worker_id
    bench.sent[2].answer()
    assert [reply.status for reply in replies] == [200, 200]
    assert bench.leaks() == {}


def test_a_worker_that_fails_before_send_returns() -> None:
    """The port allows it."""
    bench = PipelineBench(a=1, b=1)
    # Who waits for b, after a has failed it, holds up nobody: each of the four tries a first.
    bench.deps.new_budget = partial(RetryBudget, floor=4)
    bench.transport.at_once = lambda one: one.fail() if one.worker_id == "a" else None
    replies = [bench.ask()[1] for _ in range(4)]
    for _ in range(4):
        next(one for one in bench.sent if one.worker_id == "b" and not isinstance(one.sink, Done)).answer()
        _forget(bench)
    assert [reply.status for reply in replies] == [200] * 4
    assert bench.leaks() == {}


class Done:
    """In place of a sink that has heard its end."""


def _forget(bench: PipelineBench) -> None:
    for one in bench.sent:
        if getattr(one.sink, "ended", False):
            one.sink = Done()  # type: ignore[assignment]  # never called again


def test_every_worker_fails_before_send_returns() -> None:
    bench = PipelineBench(a=2, b=2)
    bench.transport.at_once = SentRequest.fail
    assert [bench.ask(stream=number % 2 == 0)[1].status for number in range(5)] == [502] * 5
    assert bench.leaks() == {}


def test_a_worker_that_answers_before_send_returns() -> None:
    bench = PipelineBench(a=1)
    bench.transport.at_once = SentRequest.answer
    assert [bench.ask()[1].status for _ in range(3)] == [200] * 3
    assert bench.leaks() == {}


@pytest.mark.parametrize("status", [400, 413, 422])
def test_the_callers_mistake_is_passed_on_and_costs_nothing(status: int) -> None:
    bench = PipelineBench(a=1, b=1)
    _, reply = bench.ask()
    bench.sent[0].answer("not like this", status)
    assert reply.error is not None
    assert reply.error.message == "not like this"
    assert (len(bench.sent), bench.journal.records, bench.leaks()) == (1, [], {})


def test_a_stream_that_breaks_ends_with_one_error() -> None:
    bench = PipelineBench(a=1, b=1)
    _, reply = bench.ask(stream=True)
    bench.sent[0].begin_stream()
    bench.sent[0].token()
    bench.sent[0].fail()
    assert (reply.over, reply.terminal_events, len(bench.sent)) == (True, 1, 1)
    assert [(one.outcome, one.completion_tokens) for one in bench.journal.records] == [(Outcome.FAILED, 1)]
    assert bench.leaks() == {}


@pytest.mark.parametrize("stage", ["queued", "sent", "streaming", "over"])
def test_a_client_that_leaves(stage: str) -> None:
    bench = PipelineBench(a=1)
    if stage == "queued":
        other, _ = bench.ask()
    flight, _ = bench.ask(stream=True, idempotency_key="k")
    if stage in ("streaming", "over"):
        bench.sent[0].begin_stream()
        bench.sent[0].token()
    if stage == "over":
        bench.sent[0].end_stream()
    flight.cancel()
    flight.cancel()
    if stage == "queued":
        assert bench.pipeline.queues() == {"m": 0}
        other.cancel()
    else:
        assert bench.sent[0].cancelled == (stage != "over")
    expected = {"queued": 1, "sent": 1, "streaming": 1, "over": 1}[stage]
    assert len(bench.journal.records) == expected
    assert bench.leaks() == {}


def test_worker_events_after_a_cancellation_are_ignored() -> None:
    bench = PipelineBench(a=1)
    flight, reply = bench.ask(stream=True)
    one = bench.sent[0]
    one.begin_stream()
    one.token()
    flight.cancel()
    before = reply.data
    one.token()
    one.end_stream()
    one.fail()
    assert (reply.data, reply.over, len(bench.journal.records), bench.leaks()) == (before, False, 1, {})


def test_waiting_has_an_end() -> None:
    bench = PipelineBench(rules=PipelineRules(max_wait_seconds=10.0), a=1)
    bench.ask()
    _, reply = bench.ask()
    _, impatient = bench.ask(timeout=3.0)
    bench.pass_time(3.0)
    assert (impatient.status, code(impatient), reply.over) == (504, "deadline_exceeded", False)
    bench.pass_time(7.0)
    assert (reply.status, code(reply)) == (504, "deadline_exceeded")
    bench.sent[0].answer()
    assert bench.leaks() == {}


def test_a_waiting_stream_hears_comments_and_then_an_error_event() -> None:
    bench = PipelineBench(a=1)
    bench.ask()
    _, reply = bench.ask(stream=True)
    bench.pass_time(1.9)
    assert not reply.streaming
    bench.pass_time(0.2)
    assert (reply.streaming, reply.data) == (True, b": keepalive\n\n")
    bench.pass_time(14.0)
    assert reply.data.count(b"keepalive") == 1
    bench.pass_time(1.1)
    assert reply.data.count(b"keepalive") == 2
    bench.pass_time(120.0)
    assert (reply.over, reply.terminal_events) == (True, 1)
    assert b'"code":"deadline_exceeded"' in reply.data


def test_a_drain_turns_away_those_who_wait_and_lets_the_others_finish() -> None:
    bench = PipelineBench(a=1)
    _, running = bench.ask()
    _, waiting = bench.ask()
    bench.pipeline.turn_away_waiting()
    assert (waiting.status, code(waiting), running.over) == (503, "server_overloaded", False)
    bench.sent[0].answer()
    assert (running.status, bench.leaks()) == (200, {})


def test_a_slow_reader_pauses_its_worker_even_when_it_was_slow_before() -> None:
    bench = PipelineBench(a=1)
    first, _ = bench.ask(stream=True)
    second, _ = bench.ask(stream=True)
    second.pause()
    first.pause()
    seen = [bench.sent[0].paused]
    first.resume()
    seen.append(bench.sent[0].paused)
    bench.sent[0].begin_stream()
    bench.sent[0].end_stream()
    seen.append(bench.sent[1].paused)
    second.resume()
    seen.append(bench.sent[1].paused)
    assert seen == [True, False, True, False]


def test_request_for_an_unknown_model_gets_404_and_without_live_workers_503() -> None:
    bench = PipelineBench(a=1)
    _, unknown = bench.ask(model="nothing")
    bench.workers.lost("a")
    _, away = bench.ask()
    assert [(reply.status, code(reply)) for reply in (unknown, away)] == [(404, "model_not_found"), (503, "server_overloaded")]
    assert bench.leaks() == {}


def test_a_full_queue() -> None:
    bench = PipelineBench(rules=PipelineRules(queue_limit=2), a=1)
    replies = [bench.ask(idempotency_key=str(number))[1] for number in range(5)]
    assert [reply.status for reply in replies] == [0, 0, 0, 429, 429]
    for number in range(3):
        bench.sent[number].answer()
    assert bench.leaks() == {}


def test_a_full_queue_keeps_room_for_another_tenant() -> None:
    bench = PipelineBench(rules=PipelineRules(queue_limit=4), a=1)
    noisy = [bench.ask()[1] for _ in range(6)]
    bench.principal = replace(bench.principal, org_id="quiet")
    _, quiet = bench.ask()
    assert [reply.status for reply in noisy] == [0, 0, 0, 0, 429, 429], "the latest of the noisy one made room"
    bench.sent[0].answer()
    bench.sent[1].answer()
    bench.sent[2].answer()
    assert quiet.status == 200
    bench.sent[3].answer()
    bench.sent[4].answer()
    assert ([reply.status for reply in noisy], bench.leaks()) == ([200, 200, 200, 200, 429, 429], {})


def test_a_tenants_counter_learns_the_true_number() -> None:
    bench = PipelineBench(a=1)
    for limit in (1000, 2000, 3000, 4000):
        bench.ask(max_tokens=limit)
    (queue,) = bench.deps.queues.values()
    seen = [queue.counters(ServiceClass.ENTERPRISE)["org"]]
    for number in range(3):
        bench.sent[number].answer()  # 3 tokens in, 2 out
        seen.append(queue.counters(ServiceClass.ENTERPRISE)["org"])
    prompt, true = seen[1], 3 + 2 * 2
    assert seen == [0, prompt, true + prompt, 2 * true + prompt], "who did not wait is not counted"
    bench.sent[3].answer()
    assert bench.leaks() == {}


def test_an_idempotency_key() -> None:
    bench = PipelineBench(a=2)
    _, first = bench.ask(idempotency_key="k")
    _, meanwhile = bench.ask(idempotency_key="k")
    bench.sent[0].answer("only once")
    _, again = bench.ask(idempotency_key="k")
    assert (meanwhile.status, again.status, len(bench.sent)) == (409, 200, 1)
    assert again.data == first.data
    _, failed = bench.ask(idempotency_key="other")
    bench.sent[1].fail()
    assert failed.status == 502
    _, retried = bench.ask(idempotency_key="other")
    bench.sent[2].answer()
    assert (retried.status, bench.leaks()) == (200, {})


@pytest.mark.parametrize("seed", range(60))
def test_any_history_leaves_nothing_behind(seed: int) -> None:
    """Workers come, fail and go, clients leave, time passes: at the end everybody has had one ending, and all counters are at zero."""
    random = Random(seed)
    rules = PipelineRules(queue_limit=5, max_wait_seconds=20.0)
    bench = PipelineBench(_reserve=random.choice([0.0, 0.4]), rules=rules, a=2, b=1, c=3)
    bench.deps.chance = random.random
    if random.random() < 0.3:
        bench.transport.at_once = lambda one: one.fail() if one.worker_id == "b" else None
    flights = []
    open_ones: list[SentRequest] = []

    def still_open() -> list[SentRequest]:
        return [one for one in bench.sent if not one.cancelled and not getattr(one.sink, "ended", True)]

    for _ in range(150):
        step = random.choice(["ask", "ask", "ask", "answer", "token", "end", "fail", "busy", "leave", "time", "lost", "alive", "mistake"])
        open_ones = still_open()
        if step == "ask":
            tier = random.choice([None, None, "priority", "flex"])
            key = random.choice([None, None, "k1", "k2"])
            timeout = random.choice([None, 5.0])
            service_class = random.choice([None, None, ServiceClass.BATCH])
            stream = random.random() < 0.6
            flights.append(bench.ask(stream=stream, service_tier=tier, idempotency_key=key, timeout=timeout, service_class=service_class))
        elif step == "leave" and flights:
            flight, reply = random.choice(flights)
            if not reply.over:
                flight.cancel()
                reply.over = True  # its owner is gone: whoever tells it anything now fails
        elif step == "time":
            bench.pass_time(random.choice([0.1, 2.5, 16.0]))
        elif step in ("lost", "alive"):
            getattr(bench.workers, step)(random.choice("abc"))
        elif open_ones:
            _act(random.choice(open_ones), step)
    for name in "abc":
        bench.workers.alive(name)
    for _ in range(200):
        for one in still_open():
            _act(one, random.choice(["fail", "answer", "end"]))
    bench.pass_time(30.0)
    assert still_open() == []
    assert all(reply.over for _, reply in flights)
    assert all(reply.terminal_events <= 1 for _, reply in flights if reply.streaming)
    assert bench.leaks() == {}
    assert len({record.request_id for record in bench.journal.records}) == len(bench.journal.records)


def _act(one: SentRequest, step: str) -> None:
    """What a worker does with a request; one that has begun a stream goes on with it."""
    stream = bool(json.loads(one.body).get("stream"))
    begun = getattr(one, "begun", False)
    if step == "fail":
        one.fail()
    elif step in ("busy", "mistake") and not begun:
        one.answer("no", 503 if step == "busy" else 400)
    elif stream:
        if not begun:
            one.begin_stream()
            one.begun = True  # type: ignore[attr-defined]  # noted for the next step
        if step == "end":
            one.end_stream()
        else:
            one.token()
    elif step in ("answer", "end"):
        one.answer()
