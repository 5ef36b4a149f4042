"""The moments of a request, in their order, and what a stage holds: settled or released exactly once, however the request ends."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from penstock.domain.errors import PermissionDenied
from penstock.domain.principal import ServiceClass
from penstock.domain.tokens import TokenCount
from penstock.domain.workers import WorkerRecord
from penstock.serving.admission.guards import Hold
from penstock.serving.pipeline import PipelineRules
from penstock.serving.pipeline.record import RequestRecord
from penstock.serving.pipeline.stages import Stage
from penstock.wire.chat.bodies import AnyBody
from tests.unit.serving.pipeline.pipeline_bench import PipelineBench

REFUSAL = PermissionDenied("Not this one.")


class Noting(Stage):
    """Notes each moment; refuses at the moment that it is told to, and holds itself."""

    def __init__(self, name: str = "", refuse_at: str = "", fail_at: str = "") -> None:
        self.name, self.refuse_at, self.fail_at = name, refuse_at, fail_at
        self.log: list[str] = []

    def _note(self, moment: str, text: str = "") -> None:
        self.log.append(f"{moment}{text}")
        if moment == self.refuse_at:
            raise REFUSAL
        if moment == self.fail_at:
            raise RuntimeError(moment)

    def before_admission(self, record: RequestRecord, request: AnyBody) -> Hold | None:
        self._note("admission", f" {record.model} {request.model}")
        return self

    def before_dispatch(self, record: RequestRecord, worker: WorkerRecord) -> None:
        self._note("dispatch", f" {worker.id}")

    def on_chunk(self, record: RequestRecord, data: bytes) -> None:
        self._note("chunk")

    def on_end(self, record: RequestRecord, count: TokenCount | None) -> None:
        self._note("end", " without tokens" if count is None else f" {count.prompt}+{count.completion}")

    def settle(self, count: TokenCount, /) -> None:
        self._note("settle", f" {count.prompt}+{count.completion}")

    def release(self) -> None:
        self._note("release")


def bench_with(*stages: Stage, rules: PipelineRules | None = None, **slots: int) -> PipelineBench:
    bench = PipelineBench(rules=rules, **slots)
    bench.deps.stages = stages
    return bench


def test_whole_answer_passes_every_moment_and_settles_the_hold() -> None:
    stage = Noting()
    bench = bench_with(stage, a=1)
    bench.ask()
    bench.sent[0].answer()
    assert stage.log == ["admission m m", "dispatch a", "chunk", "settle 3+2", "end 3+2"]
    assert bench.leaks() == {}


def test_stream_passes_each_chunk_and_settles_the_hold() -> None:
    stage = Noting()
    bench = bench_with(stage, a=1)
    _, reply = bench.ask(stream=True)
    bench.sent[0].begin_stream()
    for _ in range(2):
        bench.sent[0].token()
    bench.sent[0].end_stream()
    assert stage.log == ["admission m m", "dispatch a", "chunk", "chunk", "chunk", "settle 3+2", "end 3+2"]
    assert (reply.terminal_events, bench.leaks()) == (1, {})


def test_stages_are_asked_in_the_order_of_their_list() -> None:
    log: list[str] = []
    first, second = Noting("first"), Noting("second")
    for stage in (first, second):
        stage._note = lambda moment, text="", name=stage.name: log.append(f"{name} {moment}")  # type: ignore[method-assign,misc]
    bench = bench_with(first, second, a=1)
    bench.ask()
    bench.sent[0].answer()
    moments = ["admission", "dispatch", "chunk", "settle", "end"]
    assert log == [f"{name} {moment}" for moment in moments for name in ("first", "second")]


def test_stage_that_refuses_before_admission_ends_the_request_without_a_trace_in_the_limits() -> None:
    before, refusing, after = Noting(), Noting(refuse_at="admission"), Noting()
    bench = bench_with(before, refusing, after, a=1)
    _, reply = bench.ask()
    assert (reply.status, reply.error, bench.sent) == (403, REFUSAL, [])
    assert before.log == ["admission m m", "release", "end without tokens"]
    assert refusing.log == ["admission m m", "end without tokens"]
    assert after.log == []
    assert bench.leaks() == {}


def test_refusal_of_the_gate_releases_what_stages_hold() -> None:
    stage = Noting()
    bench = bench_with(stage, a=1)
    bench.principal = replace(bench.principal, scopes=frozenset())
    _, reply = bench.ask()
    assert reply.status == 403
    assert stage.log == ["admission m m", "release", "end without tokens"]
    assert bench.leaks() == {}


def test_stage_that_refuses_before_dispatch_ends_the_request_and_gives_the_slot_to_the_next() -> None:
    stage = Noting(refuse_at="dispatch")
    bench = bench_with(stage, a=1)
    _, reply = bench.ask()
    assert (reply.status, bench.sent) == (403, [])
    assert stage.log == ["admission m m", "dispatch a", "release", "end without tokens"]
    assert bench.leaks() == {}


def test_stage_that_refuses_a_queued_request_lets_the_one_behind_it_go_on() -> None:
    stage = Noting()
    bench = bench_with(stage, a=1)
    bench.ask()
    _, refused = bench.ask()
    _, behind = bench.ask()
    asked: list[str] = []

    def refuse_the_first(record: RequestRecord, worker: WorkerRecord) -> None:
        asked.append(record.call.request_id)
        if len(asked) == 1:
            raise REFUSAL

    stage.before_dispatch = refuse_the_first  # type: ignore[method-assign]
    bench.sent[0].answer()
    assert (refused.status, len(bench.sent)) == (403, 2)
    bench.sent[1].answer()
    assert (behind.status, bench.leaks()) == (200, {})


def test_retry_asks_before_dispatch_again_and_settles_once() -> None:
    stage = Noting()
    bench = bench_with(stage, a=1, b=1)
    bench.ask()
    bench.sent[0].fail()
    bench.sent[1].answer()
    assert [line.split()[0] for line in stage.log] == ["admission", "dispatch", "dispatch", "chunk", "settle", "end"]
    assert bench.leaks() == {}


def test_stage_that_refuses_the_retry_ends_the_request() -> None:
    stage = Noting()
    bench = bench_with(stage, a=1, b=1)
    _, reply = bench.ask()
    stage.refuse_at = "dispatch"
    bench.sent[0].fail()
    assert (reply.status, len(bench.sent)) == (403, 1)
    assert stage.log[-2:] == ["release", "end without tokens"]
    assert bench.leaks() == {}


@pytest.mark.parametrize(
    ("leave", "last"),
    [
        (lambda bench, flight: flight.cancel(), ["settle 1+0", "end 1+0"]),
        (lambda bench, flight: bench.sent[0].fail(), ["release", "end without tokens"]),
    ],
    ids=["client leaves a stream that has not begun", "every worker fails"],
)
def test_hold_ends_once_when_no_answer_begins(leave: Callable[..., None], last: list[str]) -> None:
    stage = Noting()
    bench = bench_with(stage, rules=PipelineRules(most_attempts=1), a=1)
    flight, _ = bench.ask(stream=True)
    leave(bench, flight)
    flight.cancel()
    kinds = [line.split()[0] for line in stage.log]
    assert kinds[-2:] == [line.split()[0] for line in last]
    assert len([kind for kind in kinds if kind in ("settle", "release")]) == 1
    assert bench.leaks() == {}


def test_client_that_leaves_the_queue_releases_the_hold() -> None:
    stage = Noting()
    bench = bench_with(stage, a=1)
    bench.ask()
    waiting, _ = bench.ask()
    stage.log.clear()
    waiting.cancel()
    assert stage.log == ["release", "end without tokens"]
    bench.sent[0].answer()
    assert bench.leaks() == {}


def test_stream_that_breaks_off_settles_what_was_delivered() -> None:
    stage = Noting()
    bench = bench_with(stage, a=1)
    bench.ask(stream=True)
    bench.sent[0].begin_stream()
    bench.sent[0].token()
    bench.sent[0].fail()
    assert stage.log[-2:] == ["settle 3+1", "end 3+1"]
    assert bench.leaks() == {}


def test_request_that_misses_its_deadline_in_the_queue_releases_the_hold() -> None:
    stage = Noting()
    bench = bench_with(stage, a=1)
    bench.ask()
    _, late = bench.ask(timeout=5.0)
    stage.log.clear()
    bench.pass_time(6.0)
    assert (late.status, stage.log) == (504, ["release", "end without tokens"])
    bench.sent[0].answer()
    assert bench.leaks() == {}


def test_preempted_batch_keeps_its_hold_until_done() -> None:
    stage = Noting()
    bench = bench_with(stage, a=1)
    bench.ask(service_class=ServiceClass.BATCH)
    bench.ask()
    bench.sent[1].answer()
    bench.sent[2].answer()
    assert [line for line in stage.log if line.startswith(("settle", "release"))] == ["settle 3+2", "settle 3+2"]
    assert bench.leaks() == {}


def test_replayed_answer_passes_no_stage() -> None:
    stage = Noting()
    bench = bench_with(stage, a=1)
    bench.ask(idempotency_key="once")
    bench.sent[0].answer()
    stage.log.clear()
    _, reply = bench.ask(idempotency_key="once")
    assert (reply.status, stage.log) == (200, [])


def test_idempotency_key_of_a_request_that_a_stage_refused_is_free_again() -> None:
    stage = Noting(refuse_at="admission")
    bench = bench_with(stage, a=1)
    bench.ask(idempotency_key="once")
    stage.refuse_at = ""
    _, reply = bench.ask(idempotency_key="once")
    bench.sent[0].answer()
    assert (reply.status, bench.leaks()) == (200, {})


@pytest.mark.parametrize("moment", ["chunk", "settle", "end"])
def test_stage_that_fails_late_takes_neither_the_answer_nor_the_slot(moment: str) -> None:
    failing, behind = Noting(fail_at=moment), Noting()
    bench = bench_with(failing, behind, a=1)
    _, reply = bench.ask()
    bench.sent[0].answer()
    assert (reply.status, len(bench.journal.records)) == (200, 1)
    assert [line.split()[0] for line in behind.log] == ["admission", "dispatch", "chunk", "settle", "end"]
    assert bench.leaks() == {}


def test_stage_that_fails_before_admission_is_an_internal_error_and_holds_nothing() -> None:
    before, failing = Noting(), Noting(fail_at="admission")
    bench = bench_with(before, failing, a=1)
    _, reply = bench.ask()
    assert (reply.status, before.log[-2:]) == (500, ["release", "end without tokens"])
    assert bench.leaks() == {}


def test_stage_that_fails_before_dispatch_is_an_internal_error() -> None:
    failing = Noting(fail_at="dispatch")
    bench = bench_with(failing, a=1)
    _, reply = bench.ask()
    assert (reply.status, failing.log[-2:]) == (500, ["release", "end without tokens"])
    assert bench.leaks() == {}
