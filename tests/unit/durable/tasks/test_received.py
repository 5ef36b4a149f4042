"""What a runner elsewhere reports, before it is kept."""

import pytest

from penstock.domain.durable.leases import AttemptOutput, LeaseCompletion, ProgressReport
from penstock.domain.durable.tasks import CompletionKind, TaskError
from penstock.durable.tasks.received import received_completions, received_progress

NOW = 1_000.0
YEAR = 366 * 86_400.0


def end(kind: CompletionKind = CompletionKind.SUCCEEDED, **fields: object) -> LeaseCompletion:
    return LeaseCompletion(task_id="task_1", lease_seq=1, kind=kind, **fields)  # type: ignore[arg-type] # as each case has them


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (end(result='{"x": 1}'), end(result='{"x": 1}')),
        (end(CompletionKind.RETRIED, retry_at=5.0), end(CompletionKind.RETRIED, retry_at=NOW + 5)),
        (end(CompletionKind.RETRIED, retry_at=1e300), end(CompletionKind.RETRIED, retry_at=NOW + YEAR)),
        (
            end(CompletionKind.FAILED, error=TaskError("a\0b" + "c" * 200, "x\0y"), result="[]"),
            end(CompletionKind.FAILED, error=TaskError("a\ufffdb" + "c" * 97, "x\ufffdy"), result="[]"),
        ),
        (end(output=AttemptOutput("a\0b", -3)), end(output=AttemptOutput("a\ufffdb", 0))),
        (end(output=AttemptOutput("x" * 1_000_005, 7)), end(output=AttemptOutput("x" * 1_000_000, 12))),
        (
            end(result="not json"),
            end(CompletionKind.FAILED, error=TaskError("bad_result", "The result that the runner reported is not JSON.")),
        ),
        (
            end(result='"' + "x" * 1_000_000 + '"'),
            end(CompletionKind.FAILED, error=TaskError("result_too_large", "The result has more than 1000000 bytes of JSON.")),
        ),
        (end(CompletionKind.FAILED, error=TaskError("a", "b"), result="{"), end(CompletionKind.FAILED, error=TaskError("a", "b"))),
    ],
    ids=["good", "delay", "long delay", "nul", "output", "long output", "no json", "large", "failure without json"],
)
def test_completion_is_cleaned_bounded_and_on_the_stores_clock(given: LeaseCompletion, kept: LeaseCompletion) -> None:
    assert received_completions([given], NOW) == [kept]


def test_long_message_of_a_runner_is_shortened() -> None:
    (kept,) = received_completions([end(CompletionKind.FAILED, error=TaskError("raised", "x" * 1_000_000))], NOW)
    assert kept.error is not None
    assert len(kept.error.message) < 5_000


def test_progress_that_is_too_large_or_no_json_is_dropped() -> None:
    texts = ['{"percent": 5}', "no", '"' + "x" * 65_536 + '"', "null"]
    reports = received_progress([ProgressReport("task_1", 1, text) for text in texts])
    assert [report.progress for report in reports] == ['{"percent": 5}', "null"]


def test_output_of_a_running_attempt_is_cleaned() -> None:
    given = ProgressReport("task_1", 1, "", AttemptOutput("a\0", 2))
    assert received_progress([given]) == [ProgressReport("task_1", 1, "", AttemptOutput("a\ufffd", 2))]
