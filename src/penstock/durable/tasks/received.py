"""What a runner elsewhere reports, checked before it is kept: sizes, JSON, text that a store cannot hold, times."""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from penstock.domain.durable.leases import AttemptOutput, LeaseCompletion, ProgressReport
from penstock.domain.durable.tasks import CompletionKind, TaskError
from penstock.domain.text import storable
from penstock.durable.tasks.limits import LONGEST_CODE, OUTPUT_CHARACTERS, PAYLOAD_BYTES, PROGRESS_BYTES, shortened, too_long

_LONGEST_PAUSE_SECONDS = 366 * 86_400.0


def received_completions(completions: Sequence[LeaseCompletion], now: float) -> list[LeaseCompletion]:
    """On the store's clock: a runner sends delays in seconds, because its own clock may be wrong."""
    return [_completion(each, now) for each in completions]


def received_progress(reports: Sequence[ProgressReport]) -> list[ProgressReport]:
    """Those that can be kept; a report that is too large or is not JSON is followed by another one."""
    return [
        each if each.output is None else replace(each, output=_output(each.output))
        for each in reports
        if not each.progress or (len(each.progress) <= PROGRESS_BYTES and _is_json(each.progress))
    ]


def _completion(given: LeaseCompletion, now: float) -> LeaseCompletion:
    retry_at = now + min(max(0.0, given.retry_at), _LONGEST_PAUSE_SECONDS) if given.retry_at else 0.0
    error = None if given.error is None else TaskError(storable(given.error.code)[:LONGEST_CODE], shortened(storable(given.error.message)))
    checked = replace(given, retry_at=retry_at, error=error, output=None if given.output is None else _output(given.output))
    if given.result is None:
        return checked
    if too_long(given.result):
        return _without_result(checked, TaskError("result_too_large", f"The result has more than {PAYLOAD_BYTES} bytes of JSON."))
    if not _is_json(given.result):
        return _without_result(checked, TaskError("bad_result", "The result that the runner reported is not JSON."))
    return checked


def _without_result(completion: LeaseCompletion, error: TaskError) -> LeaseCompletion:
    """A success without its result is a failure; a failure keeps its own error."""
    if completion.kind is not CompletionKind.SUCCEEDED:
        return replace(completion, result=None)
    return replace(completion, kind=CompletionKind.FAILED, result=None, error=error)


def _output(given: AttemptOutput) -> AttemptOutput:
    excess = max(0, len(given.text) - OUTPUT_CHARACTERS)
    return AttemptOutput(storable(given.text[excess:]), min(max(0, given.left_out_bytes), 1 << 53) + excess)


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return False
    return True
