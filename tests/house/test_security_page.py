"""SECURITY.md tells how long content is kept: the times and sizes of the page are those of the code."""

import pytest

from penstock.app.settings.sections import AdmissionSettings, HttpSettings
from penstock.compute.engines._supervised import log_file
from penstock.domain.durable.files import DAY_SECONDS, EXPIRES_BY_ITSELF, Purpose
from penstock.domain.durable.responses import KEPT_SECONDS
from penstock.durable.batches import processor
from penstock.durable.responses import service
from penstock.serving.admission import idempotency
from penstock.storage.stores.tasks.search import words
from tests.support.sources import ROOT, text

PAGE = text(ROOT / "SECURITY.md")
MIB = 1024 * 1024


def _row(beginning: str) -> str:
    return next(line for line in PAGE.splitlines() if line.startswith(f"| {beginning}"))


@pytest.mark.parametrize(
    ("row", "value", "said"),
    [
        ("answers to requests with an `Idempotency-Key`", idempotency.LARGEST_ANSWER_BYTES == MIB, "at most 1 MiB"),
        ("answers to requests with an `Idempotency-Key`", AdmissionSettings().idempotency_ttl_seconds == DAY_SECONDS, "24 hours"),
        ("answers to requests with an `Idempotency-Key`", AdmissionSettings().idempotency_bytes == 64 * MIB, "64 MiB"),
        ("`/v1/responses`", KEPT_SECONDS == 30 * DAY_SECONDS, "30 days"),
        ("the task of a response in the background", service._TASK_KEPT_SECONDS == DAY_SECONDS, "24 hours"),
        ("uploaded files", EXPIRES_BY_ITSELF[Purpose.BATCH] == 30 * DAY_SECONDS, "files for batches 30 days"),
        ("output and error files of batches", EXPIRES_BY_ITSELF[Purpose.BATCH_OUTPUT] == 30 * DAY_SECONDS, "30 days"),
        ("the tasks of a batch", processor._KEPT_SECONDS == 3 * DAY_SECONDS, "3 days"),
        ("other tasks", words.MOST_CHARACTERS == 32_768, "32,768 characters"),
        ("the log of an engine's server", log_file.LARGEST_BYTES == 8 * MIB, "8 MiB"),
        ("HTTP", HttpSettings().max_header_bytes == 16 * 1024 and HttpSettings().max_body_bytes == 10 * MIB, "16 KiB, a body 10 MiB"),
        ("HTTP", HttpSettings().max_json_depth == 64, "a depth of 64"),
    ],
)
def test_number_on_the_page_is_the_one_in_the_code(row: str, value: bool, said: str) -> None:
    assert value, f"the code has changed: {row}"
    assert said in _row(row)
