"""A worker proves who it is: an Ed25519 signature over method, path, time and body."""

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from starlette.datastructures import Headers

from penstock.domain.errors import Unauthenticated

TIMESTAMP_HEADER = "x-penstock-timestamp"
SIGNATURE_HEADER = "x-penstock-signature"
LARGEST_SKEW_SECONDS = 300.0
_PUBLIC_KEY_BYTES = 32
_SIGNATURE_BYTES = 64


def decode_public_key(text: str) -> bytes | None:
    """The raw 32 bytes of a base64 public key; None when it is not one."""
    return _decode(text, _PUBLIC_KEY_BYTES)


def verify(public_key: bytes, method: str, path: str, headers: Headers, body: bytes, now: float) -> None:
    """Raises Unauthenticated. `now` is the wall clock: a signature is good for five minutes either way, against replays."""
    timestamp = headers.get(TIMESTAMP_HEADER, "")
    signature = _decode(headers.get(SIGNATURE_HEADER, ""), _SIGNATURE_BYTES)
    if signature is None or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise Unauthenticated(f"This needs a worker's signature: the headers {TIMESTAMP_HEADER} and {SIGNATURE_HEADER}.")
    if abs(int(timestamp) - now) > LARGEST_SKEW_SECONDS:
        raise Unauthenticated("The signature's time is more than 300 seconds from ours; check the clocks.")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed_bytes(method, path, timestamp, body))
    except (InvalidSignature, ValueError):
        raise Unauthenticated("The signature does not fit the worker's public key.") from None


def signed_bytes(method: str, path: str, timestamp: str, body: bytes) -> bytes:
    """What is signed."""
    return f"{method}\n{path}\n{timestamp}\n{hashlib.sha256(body).hexdigest()}".encode()


def _decode(text: str, length: int) -> bytes | None:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if len(value) == length else None
