"""Rubbish made out of good input: for a fuzzer that finds the same things again for the same seed."""

import os
from collections.abc import Iterator, Sequence
from random import Random

import pytest

SOAK = 1_000_000
BOUNDED = int(os.environ.get("FUZZ_EXAMPLES", "1500"))
COUNTS = [pytest.param(BOUNDED, id="bounded"), pytest.param(SOAK, id="soak", marks=pytest.mark.soak)]
"""How many mutations a test tries: a bounded number always, a million by `make soak`."""

_SHARP = (
    *(b"\0", b"\r", b"\n", b"\r\n", b"\n\n", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\xff", b"\xc3", b"\xed\xa0\x80"),
    *(b"data:", b"data: ", b": c\n\n", b"[DONE]", b"data: [DONE]\n\n", b"null", b"-1", b"1e999", b"99999999999999999999", b"\\ud800"),
    *(b'"usage":', b'"choices":', b'"error":', b'"service_tier":"x",', b"event: x\n", b"\xef\xbb\xbf", b"[" * 2000, b"HTTP/1.1 ", b"0\r\n"),
)


def mutations(samples: Sequence[bytes], count: int, seed: int = 0) -> Iterator[bytes]:
    random = Random(seed)
    for _ in range(count):
        data = bytearray(random.choice(samples))
        for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
            _mutate(data, samples, random)
        yield bytes(data)


def pieces(data: bytes, random: Random) -> Iterator[bytes]:
    """The data as a network might deliver it."""
    start = 0
    while start < len(data):
        end = start + random.choice((1, 2, 7, 64, 1000, len(data)))
        yield data[start:end]
        start = end


def _mutate(data: bytearray, samples: Sequence[bytes], random: Random) -> None:
    at = random.randrange(len(data) + 1)
    upto = min(len(data), at + random.choice((1, 1, 2, 5, 40)))
    kind = random.randrange(6)
    if kind == 0 and at < len(data):
        data[at] = random.randrange(256)
    elif kind == 1:
        del data[at:upto]
    elif kind == 2:
        data[at:at] = data[at:upto]
    elif kind == 3:
        data[at:at] = random.choice(_SHARP)
    elif kind == 4:
        data[at:upto] = random.choice(_SHARP)
    else:
        other = random.choice(samples)
        start = random.randrange(len(other) + 1)
        data[at:upto] = other[start : start + random.choice((5, 50, 500))]
