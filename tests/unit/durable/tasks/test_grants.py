"""A grant is good for the runner that it was issued to, for the call of its task, once, and only as it was signed."""

import base64
import hashlib
import hmac

import msgspec
import pytest

from penstock.domain.durable.leases import Lease
from penstock.domain.errors import PermissionDenied
from penstock.durable.tasks.grants import Grant, Grants, digest_of_call, webhook_secret

SECRET = b"of the installation"
NOW = 1_700_000_000.0
DAY_SECONDS = 86_400.0
BODY = b'{"model": "m",  "messages": []}'
CALL = digest_of_call("/v1/chat/completions", BODY, own_class=False)
LEASE = Lease(
    task_id="task_1",
    lease_seq=3,
    org_id="org_1",
    key_id="key_1",
    queue="low",
    kind="inference",
    name="",
    priority=5,
    payload='{"url": "/v1/chat/completions", "body": ' + BODY.decode() + "}",
    attempt=1,
    max_attempts=3,
    timeout_seconds=None,
    backoff_seconds=1.0,
    backoff_cap_seconds=60.0,
    has_parents=False,
    enqueued_at=0.0,
    started_at=0.0,
    traceparent="",
)


def grants() -> Grants:
    return Grants(SECRET)


def issued(lease: Lease = LEASE) -> str:
    return grants().issue(lease, "run_1", NOW)


def refusal(text: str, runner_id: str = "run_1", now: float = NOW, call: str = CALL) -> tuple[str | None, str]:
    with pytest.raises(PermissionDenied) as raised:
        grants().check(text, runner_id, call, now)
    return raised.value.param, str(raised.value)


REFUSED = ("grant", "This grant is not good for this runner's call.")


def test_grant_is_read_as_it_was_issued_until_its_day_is_over() -> None:
    expected = Grant("task_1", "run_1", "org_1", "key_1", 3, CALL, NOW + DAY_SECONDS)
    assert grants().check(issued(), "run_1", CALL, NOW) == expected
    assert grants().check(issued(), "run_1", CALL, NOW + DAY_SECONDS) == expected


@pytest.mark.parametrize(
    ("url", "body", "own_class"),
    [
        ("/v1/embeddings", BODY, False),
        ("/v1/chat/completions", BODY + b" ", False),
        ("/v1/chat/completions", b'{"model": "dear"}', False),
        ("/v1/chat/completions", BODY, True),
    ],
)
def test_call_that_the_task_does_not_ask_for_is_refused(url: str, body: bytes, own_class: bool) -> None:
    other = digest_of_call(url, body, own_class=own_class)
    assert refusal(issued(), call=other) == ("grant", "This grant is for another call than this one.")


@pytest.mark.parametrize("payload", ["null", "{}", '{"url": 5}', '{"url": "/v1/chat/completions"}'])
def test_grant_of_a_task_without_a_call_allows_none(payload: str) -> None:
    text = issued(msgspec.structs.replace(LEASE, payload=payload))
    assert refusal(text) == refusal(text, call=digest_of_call("", b"", own_class=False))


def test_lease_allows_one_call_and_the_next_lease_another() -> None:
    some = grants()
    first = some.check(issued(), "run_1", CALL, NOW)
    some.spend(first)
    with pytest.raises(PermissionDenied, match="has been made"):
        some.spend(first)
    again = some.issue(msgspec.structs.replace(LEASE, lease_seq=4), "run_1", NOW)
    some.spend(some.check(again, "run_1", CALL, NOW))


def test_expired_grant_is_refused() -> None:
    assert refusal(issued(), now=NOW + DAY_SECONDS + 0.001) == REFUSED


def test_grant_of_another_runner_is_refused() -> None:
    assert refusal(issued(), runner_id="run_2") == REFUSED


def test_grant_of_another_installation_is_refused() -> None:
    foreign = Grants(b"of another one").issue(LEASE, "run_1", NOW)
    assert refusal(foreign) == REFUSED


def test_grant_with_a_changed_organisation_is_refused() -> None:
    data = base64.urlsafe_b64decode(issued())
    assert refusal(base64.urlsafe_b64encode(data.replace(b"org_1", b"org_2")).decode()) == REFUSED


@pytest.mark.parametrize("text", ["", "a", "!!", "AAAA", "é"])
def test_text_that_is_not_a_grant_is_refused(text: str) -> None:
    assert refusal(text) == REFUSED


def test_grant_is_signed_with_a_key_that_is_derived_for_grants_alone() -> None:
    """The installation's secret signs other things too: none of them may pass for a grant."""
    body = msgspec.json.encode(Grant("task_1", "run_1", "org_1", "key_1", 3, CALL, NOW + DAY_SECONDS))
    directly = hmac.digest(SECRET, body, hashlib.sha256)
    assert refusal(base64.urlsafe_b64encode(directly + body).decode()) == REFUSED
    derived = hmac.digest(hmac.digest(SECRET, b"inference grants", hashlib.sha256), body, hashlib.sha256)
    assert issued() == base64.urlsafe_b64encode(derived + body).decode()


def test_webhook_secret_is_the_organisations_own_and_in_the_form_of_standard_webhooks() -> None:
    expected = base64.b64encode(hmac.digest(SECRET, b"webhook:org_1", hashlib.sha256)).decode()
    assert webhook_secret(SECRET, "org_1") == f"whsec_{expected}"
    assert webhook_secret(SECRET, "org_2") != webhook_secret(SECRET, "org_1")
    assert webhook_secret(b"of another one", "org_1") != webhook_secret(SECRET, "org_1")
