"""How an upstream wants to be called, as an operator writes it."""

import pytest
from pydantic import ValidationError

from penstock.domain.workers import PLAIN_ACCESS, UpstreamAccess
from penstock.wire.upstream_access import AccessBody

FULL = UpstreamAccess(
    query="api-version=1",
    headers=(("x-team", "blue sky"),),
    secret_headers=(("api-key", "k"),),
    proxy="http://u:p@proxy.test:3128",
    probe_path="/healthz",
    requests_per_minute=5,
    tokens_per_minute=1000,
)


def test_fields_that_are_sent_change_and_others_stay() -> None:
    body = AccessBody(
        query="?api-version=1",
        headers={"x-team": "blue sky"},
        secret_headers={"api-key": "k"},
        proxy="http://u:p@proxy.test:3128/",
        probe_path="/healthz",
        requests_per_minute=5,
        tokens_per_minute=1000,
    )
    assert body.access(PLAIN_ACCESS) == FULL
    assert AccessBody(headers={}).access(FULL).headers == ()
    assert AccessBody().access(FULL) == FULL


def test_secrets_do_not_show_in_its_representation() -> None:
    shown = repr(UpstreamAccess(secret_headers=(("api-key", "sk-1"),), client_key="KEY", proxy="http://u:pw@h"))
    assert not any(word in shown for word in ("sk-1", "KEY", "pw"))


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": {"host": "x"}},
        {"headers": {"Content-Length": "1"}},
        {"headers": {"x y": "1"}},
        {"headers": {"x": "1\r\nevil: 2"}},
        {"headers": {"x": " 1"}},
        {"headers": {"x": "é"}},
        {"headers": {"x": "1", "X": "2"}},
        {"headers": {f"x-{number}": "1" for number in range(33)}},
        {"secret_headers": {"transfer-encoding": "chunked"}},
        {"query": "a b"},
        {"query": "a=1#x"},
        {"query": "a=1\r\nx: 1"},
        {"proxy": "https://h"},
        {"proxy": "http://h/path"},
        {"proxy": "http://h\r\n"},
        {"proxy": "socks5://h"},
        {"probe_path": "healthz"},
        {"probe_path": "/a b"},
        {"ca": "not pem"},
        {"requests_per_minute": 0},
        {"tokens_per_minute": "5"},
    ],
)
def test_access_that_could_break_a_request_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AccessBody.model_validate(fields)
