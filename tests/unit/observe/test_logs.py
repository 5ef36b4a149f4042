"""One object a line, always the same names, and nothing that lets a reader in."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from penstock.accounts.bootstrap import PLANS
from penstock.domain import keys
from penstock.domain.call import Call
from penstock.domain.inference import Operation
from penstock.domain.models import Price
from penstock.domain.principal import KeyActor, Principal
from penstock.domain.tokens import TokenCount
from penstock.domain.usage import Outcome, UsageRecord
from penstock.observe import logs
from penstock.serving.pipeline import request_log
from penstock.serving.usage.meter import Meter

KEY = keys.new_secret(keys.API_KEY)
TOKEN = keys.new_secret(keys.JOIN_TOKEN)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged in JSON; the root logger is as before afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    out = io.StringIO()
    logs.configure("info", "json", out)
    yield out
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def fail() -> None:
    raise RuntimeError(f"no such key: {KEY}")


def only(lines: io.StringIO) -> dict[str, Any]:
    (line,) = lines.getvalue().splitlines()
    event: dict[str, Any] = json.loads(line)
    return event


def finished(*, slow: bool) -> None:
    principal = Principal("org_1", KeyActor("key_1"), PLANS[0], frozenset())
    call = Call("req_1", Operation.CHAT, b"{}", retry_count=1)
    meter = Meter(Journal(), principal, call, "small", Price(), 0.0, 0.0)
    meter.tier, meter.worker_id, meter.queue_seconds = "flex", "wrk_1", 0.25
    request_log.finished(principal, call, "small", meter, Outcome.COMPLETED, TokenCount(3, 4), 1.5, slow=slow)


class Journal:
    """Takes what is metered and keeps nothing."""

    def begin(self, record: UsageRecord) -> None:
        return None

    def finish(self, record: UsageRecord) -> None:
        return None


def test_a_request_has_every_name(lines: io.StringIO) -> None:
    finished(slow=False)
    event = only(lines)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "request",
        "level": "info",
        "logger": "penstock.inference",
        "request_id": "req_1",
        "organisation": "org_1",
        "key_id": "key_1",
        "plan": "free",
        "model": "small",
        "service_tier": "flex",
        "operation": "chat",
        "worker_id": "wrk_1",
        "outcome": "completed",
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "queue_seconds": 0.25,
        "seconds": 1.5,
        "retries": 0,
        "client_retry": 1,
    }


def test_a_slow_request_is_a_warning(lines: io.StringIO) -> None:
    finished(slow=True)
    event = only(lines)
    assert (event["event"], event["level"]) == ("slow_request", "warning")


@pytest.mark.parametrize(
    "fields",
    [
        {"event": f"key {KEY} came"},
        {"header": f"Bearer {KEY}"},
        {"header": "Basic cm9vdEBleGFtcGxlLmNvbTpodW50ZXIyMg=="},
        {"authorization": "hunter2"},
        {"Password": "hunter2"},
        {"secret": b"hunter2"},
        {"token": TOKEN},
        {"nested": {"headers": [{"api_key": "hunter2"}, f"x{KEY}"]}},
        {"hosted": "sk-proj-0123456789abcdefghij"},
        {"url": "http://root:hunter2@127.0.0.1/"},
    ],
)
def test_secrets_are_hidden_wherever_they_are(lines: io.StringIO, fields: dict[str, Any]) -> None:
    event = {"event": "something", **fields}
    structlog.get_logger("test").info(event.pop("event"), **event)
    text = lines.getvalue()
    assert logs.HIDDEN in text
    for secret in (KEY, TOKEN, "hunter2", "cm9vdEBle", "sk-proj"):
        assert secret not in text


def test_a_secret_in_an_exception_is_hidden(lines: io.StringIO) -> None:
    try:
        fail()
    except RuntimeError:
        structlog.get_logger("test").exception("failed")
    assert KEY not in lines.getvalue()
    assert "RuntimeError" in only(lines)["exception"]


def test_other_libraries_log_in_the_same_form(lines: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").warning("address %s in use", "x\ny")
    logging.getLogger("httpx").info("GET /secret")
    event = only(lines)
    assert (event["event"], event["logger"], event["level"]) == ("address x\ny in use", "uvicorn.error", "warning")


def test_value_without_a_json_form_is_logged_as_its_repr(lines: io.StringIO) -> None:
    structlog.get_logger("test").info("odd", value=object())
    assert only(lines)["value"].startswith("<object object")


def test_below_the_level_nothing_is_written(lines: io.StringIO) -> None:
    structlog.get_logger("test").debug("quiet")
    assert lines.getvalue() == ""


def test_a_console_is_for_people() -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    out = io.StringIO()
    logs.configure("info", "console", out)
    try:
        structlog.get_logger("test").warning("watch out", key_id="key_1")
        try:
            fail()
        except RuntimeError:
            structlog.get_logger("test").exception("failed")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
    assert "watch out" in out.getvalue()
    assert "key_id=key_1" in out.getvalue()
    assert KEY not in out.getvalue()
