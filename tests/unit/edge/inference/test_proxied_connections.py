"""Connections of trusted proxies, and how many connections an address may have."""

import pytest

from penstock.domain.clock import ManualClock
from penstock.edge.inference.connection_counts import ConnectionCounts
from penstock.edge.layers.proxies import PROXY_PROTOCOL, TrustedProxies
from tests.unit.edge.inference.memory_connection import MemoryConnection
from tests.unit.edge.proxy_protocol import proxy_header

PEER = "192.0.2.7"
"""Of a `MemoryConnection`."""
OWN = TrustedProxies(("192.0.2.7/32",))


async def connection(**options: object) -> MemoryConnection:
    client = MemoryConnection(**options)  # type: ignore[arg-type]  # passed on
    await client.know_the_key()
    return client


async def test_wrong_keys_of_one_client_behind_a_proxy_do_not_lock_out_another() -> None:
    client = await connection(proxies=OWN, per_minute=2)
    good, client.authorization = client.authorization, "Bearer psk-wrong"
    for _ in range(3):
        client.receive(client.request(b"{}", "x-forwarded-for: 198.51.100.1"))
    client.receive(client.request(b"{}", "x-forwarded-for: 198.51.100.2"))
    client.authorization = good
    client.receive(client.request(b"{}", "x-forwarded-for: 198.51.100.1"))
    assert [answer.status for answer in client.answers()] == [401, 401, 429, 401, 200]


async def test_header_of_a_client_that_is_no_proxy_is_ignored() -> None:
    client = await connection(per_minute=2)
    client.authorization = "Bearer psk-wrong"
    for number in range(3):
        client.receive(client.request(b"{}", f"x-forwarded-for: 198.51.100.{number}"))
    assert [answer.status for answer in client.answers()] == [401, 401, 429]


async def test_routes_see_the_client_and_the_scheme_that_the_proxy_names() -> None:
    client = await connection(proxies=OWN)
    lines = ("x-forwarded-for: 203.0.113.6, 198.51.100.1", "x-forwarded-proto: https")
    client.receive(client.request(b"", *lines, path="/v1/models", method="GET"))
    await client.wire.wrote.wait()
    assert client.asgi_clients == [("198.51.100.1", "https")]


async def test_unseen_good_key_is_found_after_many_wrong_keys_from_its_address() -> None:
    client = MemoryConnection(per_minute=2)
    good, client.authorization = client.authorization, "Bearer psk-wrong"
    for _ in range(10):
        client.receive(client.request())
    client.wire.wrote.clear()
    client.authorization = good
    client.receive(client.request())
    await client.wire.wrote.wait()
    assert [answer.status for answer in client.answers()] == [401] * 2 + [429] * 8 + [200]


# --- the PROXY protocol ---


async def test_proxy_protocol_names_the_client_for_all_requests_of_its_connection() -> None:
    client = await connection(proxies=TrustedProxies((f"{PEER}/32",), PROXY_PROTOCOL))
    request = client.request(b"", "x-forwarded-for: 203.0.113.6", path="/v1/models", method="GET")
    header = proxy_header("198.51.100.1")
    for at in range(0, len(header), 7):
        client.receive(header[at : at + 7])
    assert client.wire.written == b""
    client.receive(request)
    await client.wire.wrote.wait()
    client.receive(client.request())
    assert client.asgi_clients == [("198.51.100.1", "http")]
    assert [answer.status for answer in client.answers()] == [204, 200]


async def test_proxy_protocol_and_first_request_may_come_in_one_read() -> None:
    client = await connection(proxies=TrustedProxies((f"{PEER}/32",), PROXY_PROTOCOL))
    client.receive(proxy_header("198.51.100.1") + client.request())
    assert client.answer().status == 200


async def test_trusted_proxy_without_the_header_is_disconnected() -> None:
    client = await connection(proxies=TrustedProxies((f"{PEER}/32",), PROXY_PROTOCOL))
    client.receive(client.request())
    assert (client.closed, client.wire.written, client.inference.calls) == (True, b"", [])


async def test_other_client_needs_no_proxy_header_and_may_not_send_one() -> None:
    for data, status in ((b"", 200), (proxy_header("198.51.100.1"), 400)):
        client = await connection(proxies=TrustedProxies(("10.0.0.0/8",), PROXY_PROTOCOL))
        client.receive(data + client.request())
        assert client.answers()[0].status == status


# --- how many ---


async def test_connection_beyond_those_of_its_address_is_told_so_and_closed() -> None:
    counts = ConnectionCounts(ManualClock(), 100, most_of_one=2)
    first, _, third = [await connection(counts=counts) for _ in range(3)]
    assert (third.answer().status, third.closed, counts.total) == (429, True, 2)
    assert b"2 open connections" in third.answer().body
    first.protocol.connection_lost(None)
    third.protocol.connection_lost(None)
    assert counts.total == 1
    fourth = await connection(counts=counts)
    fourth.receive(fourth.request())
    assert fourth.answer().status == 200


async def test_proxy_may_have_more_connections_than_another_address() -> None:
    counts = ConnectionCounts(ManualClock(), 4, most_of_one=1)
    made = [await connection(counts=counts, proxies=OWN) for _ in range(5)]
    assert [each.closed for each in made] == [False] * 4 + [True]
    assert made[4].answer().status == 503


async def test_clients_that_the_proxy_protocol_names_are_counted_each() -> None:
    counts = ConnectionCounts(ManualClock(), 100, most_of_one=1)
    proxies = TrustedProxies((f"{PEER}/32",), PROXY_PROTOCOL)
    statuses = []
    for address in ("198.51.100.1", "198.51.100.1", "198.51.100.2"):
        client = await connection(counts=counts, proxies=proxies)
        client.receive(proxy_header(address) + client.request())
        statuses.append(client.answers()[0].status)
    assert (statuses, counts.total) == ([200, 429, 200], 2)


@pytest.mark.parametrize(("most", "most_of_one", "expected"), [(100, None, 50), (100, 7, 7)])
def test_one_address_has_half_of_all_unless_set(most: int, most_of_one: int | None, expected: int) -> None:
    assert ConnectionCounts(ManualClock(), most, most_of_one).most_of_one == expected


def test_addresses_of_one_ipv6_network_are_counted_together_and_forgotten() -> None:
    counts = ConnectionCounts(ManualClock(), 100, most_of_one=1)
    assert counts.opened("2001:db8::1", proxy=False) is None
    assert counts.opened("2001:db8::2", proxy=False) is not None
    counts.closed("2001:db8::1")
    assert (counts.total, counts._open) == (0, {})
