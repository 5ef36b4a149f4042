"""Where a webhook may go, and how it is signed."""

import base64
import hashlib
import hmac

import pytest

from penstock.durable.tasks.grants import webhook_secret
from penstock.processes.runner.kinds.webhook import WebhookRefused, checked_url, own_headers, signed


@pytest.mark.parametrize("url", ["https://example.org/hook", "http://198.51.100.1:8080/a?b=c", "https://[2001:db8::1]/x"])
def test_public_url_is_accepted(url: str) -> None:
    assert checked_url(url).geturl() == url


@pytest.mark.parametrize(
    "url",
    ["", "example.org", "ftp://example.org", "https://", "https://u:p@example.org", "http://a:99999/", "http://a:0/", "http://ä.org/"],
)
def test_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(WebhookRefused):
        checked_url(url)


@pytest.mark.parametrize("headers", [{"Host": "x"}, {"webhook-id": "x"}, {"content-length": "1"}, {"x y": "1"}, {"x": "a\r\nb: c"}])
def test_reserved_or_invalid_header_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(WebhookRefused):
        own_headers(headers)


def test_too_many_headers_are_refused() -> None:
    with pytest.raises(WebhookRefused):
        own_headers({f"x-{number}": "1" for number in range(21)})


def test_the_signature_is_of_id_time_and_body() -> None:
    secret = webhook_secret(b"installation", "org_1")
    assert secret.startswith("whsec_")
    headers = signed(secret, "task_1", 1_700_000_000, b'{"a":1}')
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.digest(key, b'task_1.1700000000.{"a":1}', hashlib.sha256)).decode()
    assert headers == {"webhook-id": "task_1", "webhook-timestamp": "1700000000", "webhook-signature": f"v1,{expected}"}
    assert webhook_secret(b"installation", "org_2") != secret
