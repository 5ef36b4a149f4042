"""A worker proves who it is: an Ed25519 signature over method, path, time, nonce and body, good for one call."""

import base64
import binascii
import re
from collections import OrderedDict

from starlette.datastructures import Headers

from penstock.base.identity import NONCE_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, signed_text
from penstock.domain.errors import Unauthenticated

LARGEST_SKEW_SECONDS = 300.0
_PUBLIC_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_NONCE = re.compile(r"[!-~]{16,64}")
_MOST_REMEMBERED = 200_000


class UsedSignatures:
    """The signatures that were accepted within the time in which they would be good again, so that each is good once.

    A gateway remembers its own: one that was heard on another gateway could be played to this one within that time, over a
    connection that an attacker reads. Between gateways and workers that do not share a network, use TLS.
    """

    def __init__(self) -> None:
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def use(self, signature: bytes, now: float) -> bool:
        """False when it was used before. `now` is the wall clock, as in the signatures."""
        until = self._until
        while until and (next(iter(until.values())) < now or len(until) >= _MOST_REMEMBERED):
            until.popitem(last=False)
        if signature in until:
            return False
        until[signature] = now + 2 * LARGEST_SKEW_SECONDS
        return True


def decode_public_key(text: str) -> bytes | None:
    """The raw 32 bytes of a base64 public key; None when it is not one."""
    return _decode(text, _PUBLIC_KEY_BYTES)


def verify(public_key: bytes, method: str, path: str, headers: Headers, body: bytes, now: float, used: UsedSignatures) -> None:
    """Raises Unauthenticated. `now` is the wall clock: a signature's time may be five minutes from it either way."""
    timestamp, nonce = headers.get(TIMESTAMP_HEADER, ""), headers.get(NONCE_HEADER, "")
    signature = _decode(headers.get(SIGNATURE_HEADER, ""), _SIGNATURE_BYTES)
    if signature is None or not _TIMESTAMP.fullmatch(timestamp) or not _NONCE.fullmatch(nonce):
        raise Unauthenticated(f"This needs a worker's signature: the headers {TIMESTAMP_HEADER}, {NONCE_HEADER} and {SIGNATURE_HEADER}.")
    if abs(int(timestamp) - now) > LARGEST_SKEW_SECONDS:
        raise Unauthenticated("The signature's time is more than 300 seconds from ours; check the clocks.")
    # Imported by the first worker that comes: it weighs 8 MB.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed_text(method, path, timestamp, nonce, body))
    except (InvalidSignature, ValueError):
        raise Unauthenticated("The signature does not fit the worker's public key.") from None
    if not used.use(signature, now):
        raise Unauthenticated("This signature was used before: sign each call anew.")


def _decode(text: str, length: int) -> bytes | None:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if len(value) == length else None
