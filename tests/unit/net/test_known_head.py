"""A head that comes again is judged as the parser judged it the first time, and nothing else is taken for it."""

import httptools
import pytest

from penstock.net.known_head import KnownHead
from tests.unit.net.memory_transport import Heard, connected
from tests.unit.wire.mutations import COUNTS, mutations

LINES = [(b"Host", b"a"), (b"Content-Length", b"5"), (b"Authorization", b"Bearer sk")]
ASKED = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nAuthorization: Bearer sk\r\n\r\nhello"
LONGER = ASKED.replace(b"Length: 5", b"Length: 12") + b", world"
ANSWERED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n" + b'{"choices":[]}'


class Judge:
    """What the parser makes of bytes: every message in them."""

    def __init__(self, data: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.messages: list[tuple[bytes, list[tuple[bytes, bytes]], bytes]] = []
        self.refused = False
        self._url = b""
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.refused = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.messages.append((self._url, self.headers, self.body))
        self._url, self.headers, self.body = b"", [], b""


def known() -> KnownHead:
    one = KnownHead()
    assert one.learn(ASKED, LINES)
    return one


def test_the_same_head_with_another_body() -> None:
    assert known().body(ASKED) == b"hello"
    assert known().body(LONGER) == b"hello, world"


@pytest.mark.parametrize(
    "data",
    [ASKED[:-1], ASKED + b"!", ASKED + ASKED, LONGER[:-3], ASKED.replace(b"5", b"+5"), ASKED.replace(b"5", b""), b"", b"\0"],
    ids=["a part", "more", "two", "less than it says", "a sign", "no length", "nothing", "rubbish"],
)
def test_anything_but_one_whole_message_is_for_the_parser(data: bytes) -> None:
    assert known().body(data) is None


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        (ASKED[:-1], LINES),
        (ASKED + ASKED, LINES),
        (ASKED, LINES[:2]),
        (ASKED.replace(b"Host: a\r\n", b"Host: a\r\n b\r\n"), LINES),
        (ASKED.replace(b"Host: a", b"Host: a\nB: c"), LINES),
        (ASKED.replace(b"Content-Length: 5\r\n", b""), LINES[:1] + LINES[2:]),
    ],
    ids=["a part", "pipelined", "not all headers", "folded", "a bare line feed", "no length"],
)
def test_ambiguous_head_is_not_learned(data: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    one = KnownHead()
    assert not one.learn(data, headers)
    assert one.body(ASKED) is None


def test_heads_that_never_repeat_are_soon_not_learned() -> None:
    one = KnownHead()
    learned = [one.learn(ASKED.replace(b"sk", b"%d" % number), LINES) for number in range(10)]
    assert learned == [True] * 4 + [False] * 6
    again = known()
    for _ in range(10):
        assert again.body(ASKED) == b"hello"
        assert again.learn(ASKED, LINES)


@pytest.mark.parametrize("count", COUNTS)
def test_known_head_never_disagrees_with_the_parser(count: int) -> None:
    one, taken = known(), 0
    for data in mutations([ASKED, LONGER], count):
        body = one.body(data)
        if body is None:
            continue
        taken += 1
        judge = Judge(data)
        assert not judge.refused
        ((url, headers, parsed),) = judge.messages
        assert (url, parsed, headers[0], headers[2]) == (b"/v1/x", body, LINES[0], LINES[2])
    assert taken


@pytest.mark.parametrize("count", COUNTS)
async def test_connection_reports_the_same_with_and_without_known_heads(count: int) -> None:
    for data in mutations([ANSWERED], count, seed=1):
        heard = []
        for primed in (False, True):
            connection, wire, home = connected()
            if primed:
                connection.start(b"", Heard(), first := Heard())
                connection.data_received(ANSWERED)
                assert first.endings in ([], ["end"])
            sink = Heard()
            connection.start(b"", sink, sink)
            connection.data_received(data)
            heard.append((sink.status, sink.headers if sink.endings == ["end"] else None, sink.body, sink.endings, wire.closed))
            assert len(home.kept) == primed + (sink.endings == ["end"] and not wire.closed)
        if heard[1][1] is not None and heard[0][1] is not None:
            # The length is the one header that a known head does not tell anew.
            plain, again = ([each for each in one[1] or () if each[0] != b"content-length"] for one in heard)
            assert plain == again
            heard = [(one[0], None, *one[2:]) for one in heard]
        assert heard[0] == heard[1]
