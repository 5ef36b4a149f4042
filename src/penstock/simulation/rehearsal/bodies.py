"""The bytes of a request: a chat of so many tokens, some of them shared with others, as a client would send it."""

from functools import lru_cache
from random import Random

from penstock.simulation.rehearsal.traffic import PlannedRequest
from penstock.simulation.tokens import VOCABULARY

MODEL = "rehearsed"
_BYTES_PER_TOKEN = 4
_LONGEST_BYTES = 1 << 18
_TEMPLATE = (
    b'{"model":"%b","stream":true,"stream_options":{"include_usage":true},"max_tokens":%d,%b"messages":[{"role":"user","content":"%b"}]}'
)
_NOT_COUNTED_BYTES = 34
"""Of the JSON around one message: what the gateway's estimate of a prompt leaves out (`wire/chat/requests.py`)."""


def body(number: int, ask: PlannedRequest, random: Random) -> bytes:
    """The gateway's estimate of its prompt is `ask.prompt_tokens`; but for the shared beginning it is like no other."""
    shared = _beginning(ask.prefix, ask.prefix_tokens)
    tier = b"" if ask.tier is None else b'"service_tier":"%b",' % ask.tier.encode()
    frame = _TEMPLATE % (MODEL.encode(), ask.max_tokens, tier, b"")
    wanted = max(_BYTES_PER_TOKEN * ask.prompt_tokens + _NOT_COUNTED_BYTES - len(frame) - len(shared), 12)
    own = b"%010d " % number
    start = random.randrange(_LONGEST_BYTES)
    text = shared + (own + _filler()[start : start + wanted])[:wanted]
    return _TEMPLATE % (MODEL.encode(), ask.max_tokens, tier, text)


@lru_cache(maxsize=1)
def _filler() -> bytes:
    random = Random(7)
    text = b""
    while len(text) < 2 * _LONGEST_BYTES:
        text += " ".join(random.choices(VOCABULARY, k=4096)).encode() + b" "
    return text


@lru_cache(maxsize=8192)
def _beginning(prefix: int, tokens: int) -> bytes:
    if not tokens:
        return b""
    random = Random(prefix)
    text = " ".join(random.choices(VOCABULARY, k=tokens * 2)).encode()
    return text[: tokens * _BYTES_PER_TOKEN]
