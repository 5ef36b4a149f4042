"""Embeddings without a model: hashed bags of tokens, so that equal texts are equal and similar texts are near."""

import hashlib
import math
from array import array
from collections.abc import Sequence

from penstock.simulation import tokens

DIMENSIONS = 256
MOST_DIMENSIONS = 4096
_FEATURES_OF_A_TOKEN = 4


def embed(text: str | Sequence[int], dimensions: int) -> bytes:
    """A unit vector as little-endian 32-bit floats. Each token adds +-1 in four places that its hash names."""
    pieces = tokens.split(text.lower()) if isinstance(text, str) else tokens.words(text)
    vector = [0.0] * dimensions
    for piece in pieces:
        digest = hashlib.blake2b(piece.strip().encode("utf-8", "replace"), digest_size=4 * _FEATURES_OF_A_TOKEN).digest()
        for at in range(0, len(digest), 4):
            drawn = int.from_bytes(digest[at : at + 4], "little")
            vector[(drawn >> 1) % dimensions] += 1.0 if drawn & 1 else -1.0
    length = math.sqrt(sum(one * one for one in vector))
    if length == 0.0:
        vector[0], length = 1.0, 1.0
    return array("f", (one / length for one in vector)).tobytes()
