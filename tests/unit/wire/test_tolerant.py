"""JSON that the strict decoder refuses, and compressed bodies that nobody asked for."""

import gzip
import json
import zlib

import pytest

from penstock.wire.chat.tolerant import Halves, reread
from penstock.wire.encodings import BadEncoding, Inflater, inflated, plain_beginning


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (b'{"a":"\\ud83d"}', {"a": "\ufffd"}),
        (b'{"a":"\\ude00 x \\ud83d y"}', {"a": "\ufffd x \ufffd y"}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a":[NaN,-Infinity,1]}', {"a": [None, None, 1]}),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
    ],
)
def test_nearly_json_is_read(given: bytes, value: object) -> None:
    found = reread(given)
    assert found is not None
    assert json.loads(found) == value


@pytest.mark.parametrize("given", [b"", b"nonsense", b"[1]", b'{"a":"\xff"}', b'{"a":' * 100_000])
def test_text_that_is_no_object_is_not_read(given: bytes) -> None:
    assert reread(given) is None


def test_halves_of_a_character_in_two_events_meet() -> None:
    halves: Halves = {}
    texts = [reread(b'{"c":[{"t":"' + text + b'"}]}', halves) for text in (b"a\\ud83d", b"\\ude00b", b"\\ud83d", b"c\\ud83d")]
    assert [json.loads(text or b"")["c"][0]["t"] for text in texts] == ["a", "\U0001f600b", "", "\ufffdc"]


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [(b"gzip", gzip.compress(b"text" * 99)), (b"Deflate", zlib.compress(b"text" * 99))],
    ids=["gzip", "deflate"],  # the bytes of the first have the time in them
)
def test_compressed_body_is_unpacked(encoding: bytes, packed: bytes) -> None:
    assert inflated(packed, encoding, 1000) == b"text" * 99
    one = Inflater(encoding, 1000)
    assert b"".join(one.feed(packed[at : at + 3]) for at in range(0, len(packed), 3)) == b"text" * 99
    assert plain_beginning(packed, encoding, 8) == b"texttext"
    with pytest.raises(BadEncoding, match="more than 10 bytes"):
        inflated(packed, encoding, 10)


def test_unknown_or_broken_encoding_is_refused() -> None:
    with pytest.raises(BadEncoding, match="zstd"):
        inflated(b"x", b"zstd", 10)
    with pytest.raises(BadEncoding, match="broken"):
        inflated(b"xxxx", b"gzip", 10)
    assert plain_beginning(b"xxxx", b"gzip", 10) == b"xxxx"
