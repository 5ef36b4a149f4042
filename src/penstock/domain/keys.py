"""Secrets that people hold: API keys and join tokens, `<prefix><random><checksum>`, kept by us only as a digest."""

import hashlib
import hmac
import secrets
import string
import zlib

API_KEY = "psk-"
JOIN_TOKEN = "pjt-"  # noqa: S105 - a prefix, not a token

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_CHARS = 32  # log2(62) x 32 = 190 bits
_CHECKSUM_CHARS = 6  # 62^6 > 2^32: room for a CRC32
_BODY_CHARS = _RANDOM_CHARS + _CHECKSUM_CHARS
_HINT_CHARS = 8


def new_secret(prefix: str) -> str:
    """A fresh secret of 190 random bits. Its checksum lets us, and scanners of leaked secrets, tell it from noise."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARS))
    return f"{prefix}{random}{_checksum(prefix + random)}"


def well_formed(text: str, prefix: str) -> bool:
    """Whether the text can be a secret that we made: its shape and its checksum, without asking anyone."""
    if len(text) != len(prefix) + _BODY_CHARS or not text.startswith(prefix) or not text.isascii():
        return False
    value = 0
    for char in text[-_CHECKSUM_CHARS:]:
        digit = _VALUES.get(char)
        if digit is None:
            return False
        value = value * 62 + digit
    return value == zlib.crc32(text[:-_CHECKSUM_CHARS].encode())


def digest(secret_key: bytes, text: str) -> bytes:
    """HMAC-SHA-256 under the installation's secret: what the store keeps and looks a key up by."""
    return hmac.digest(secret_key, text.encode(), hashlib.sha256)


def hint(text: str) -> str:
    """The first characters, for people to tell their keys apart; far too few to guess the rest."""
    return text[:_HINT_CHARS]


def _checksum(text: str) -> str:
    value = zlib.crc32(text.encode())
    digits = []
    for _ in range(_CHECKSUM_CHARS):
        value, digit = divmod(value, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


_VALUES = {char: value for value, char in enumerate(_ALPHABET)}
