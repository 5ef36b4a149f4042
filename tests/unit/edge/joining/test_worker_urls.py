"""Where a gateway may be sent, decided on the text of a URL alone."""

import pytest

from penstock.edge.joining.worker_urls import joined_url, upstream_url
from penstock.edge.layers.problems import InvalidFields

PEER = "192.0.2.7"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://gpu-1:9000", "http://gpu-1:9000"),
        ("HTTP://gpu-1:9000/", "http://gpu-1:9000"),
        ("http://gpu-1:9000/v1", "http://gpu-1:9000"),
        ("http://gpu-1:9000/v1/", "http://gpu-1:9000"),
        ("https://gpu-1/base/v1/", "https://gpu-1/base"),
        ("http://[fd00::1]:9000", "http://[fd00::1]:9000"),
        ("http://10.0.0.5", "http://10.0.0.5"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
    ],
)
def test_base_url_is_kept_without_its_closing_slash_and_v1(text: str, url: str) -> None:
    assert joined_url(text, PEER) == upstream_url(text) == url


@pytest.mark.parametrize(("text", "url"), [("http://0.0.0.0:9000", f"http://{PEER}:9000"), ("http://[::]:9000", f"http://{PEER}:9000")])
def test_worker_that_listens_everywhere_gets_the_address_that_it_called_from(text: str, url: str) -> None:
    assert joined_url(text, PEER) == url
    assert joined_url(text, "2001:db8::7") == "http://[2001:db8::7]:9000"


@pytest.mark.parametrize("text", ["http://0.0.0.0:9000", "http://[::]:9000"])
def test_url_without_a_host_is_refused_where_no_peer_address_can_stand_for_it(text: str) -> None:
    with pytest.raises(InvalidFields, match="names no host"):
        upstream_url(text)
    with pytest.raises(InvalidFields, match="names no host"):
        joined_url(text, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ftp://gpu-1", "only http and https"),
        ("//gpu-1", "only http and https"),
        ("http://user:password@gpu-1", "credentials"),
        ("http://user@gpu-1", "credentials"),
        ("http://@gpu-1", "credentials"),
        ("http://gpu-1/?a=1", "end with the path"),
        ("http://gpu-1/?", "end with the path"),
        ("http://gpu-1/#a", "end with the path"),
        ("http://gpu-1/#", "end with the path"),
        ("http://gpu-1\\@evil", "credentials"),
        ("http://gpu-1\\evil", "end with the path"),
        ("http://gpu-1:0", "port 0"),
        ("http://gpu-1:99999", "not a URL"),
        ("http://gpu-1:x", "not a URL"),
        ("http://[fd00::1", "not a URL"),
        ("http://gpu 1", "not a name"),
        ("http://gpu%201", "not a name"),
        ("http://" + "a" * 254, "not a name"),
    ],
)
def test_url_that_two_readers_could_understand_differently_is_refused(text: str, reason: str) -> None:
    for read in (upstream_url, lambda url: joined_url(url, PEER)):
        with pytest.raises(InvalidFields, match=reason) as refused:
            read(text)
        assert refused.value.param == "base_url"


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[::ffff:169.254.169.254]",
        "224.0.0.1",
        "[ff02::1]",
        "2852039166",
        "0xa9fea9fe",
        "169.254.169.254.",
        "0251.0376.0251.0376",
        "a.0xa9",
    ],
)
def test_address_that_holds_a_cloud_machines_credentials_is_refused_in_every_spelling(host: str) -> None:
    with pytest.raises(InvalidFields):
        upstream_url(f"http://{host}/")
    with pytest.raises(InvalidFields):
        joined_url(f"http://{host}/", PEER)


def test_worker_that_calls_from_a_link_local_address_is_refused() -> None:
    with pytest.raises(InvalidFields, match="cannot be a worker's"):
        joined_url("http://0.0.0.0:9000", "169.254.1.1")
