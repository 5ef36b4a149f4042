"""Secrets that we must be able to read again (a worker's), encrypted at rest."""

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from penstock.domain.errors import PortUnavailable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_WORKER_SECRETS = b"penstock worker secrets"
_FINGERPRINT = b"penstock secret key fingerprint"


class Seal:
    """AES-256-GCM under a key derived from the installation's secret; a sealed value opens only for the row it was made for.

    Until it is unlocked it raises PortUnavailable.
    """

    def __init__(self) -> None:
        self._secret_key: bytes | None = None
        self._aes: AESGCM | None = None

    def unlock(self, secret_key: bytes) -> None:
        self._secret_key = secret_key

    def lock(self) -> None:
        self._secret_key = self._aes = None

    def _cipher(self) -> "AESGCM":
        if self._aes is None:
            self._aes = self._make_cipher()
        return self._aes

    def _make_cipher(self) -> "AESGCM":
        if self._secret_key is None:
            raise PortUnavailable("the store is not open")
        # Imported when there is a secret: it weighs 8 MB.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=_WORKER_SECRETS).derive(self._secret_key))

    def seal(self, row_id: str, text: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher().encrypt(nonce, text.encode(), row_id.encode())

    def open(self, row_id: str, sealed: bytes) -> str:
        """Raises cryptography's InvalidTag for another row's value, another key or a changed byte."""
        return self._cipher().decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], row_id.encode()).decode()


def fingerprint(secret_key: bytes) -> bytes:
    """Tells two secret keys apart without revealing either."""
    return hmac.digest(secret_key, _FINGERPRINT, hashlib.sha256)
