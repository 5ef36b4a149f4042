"""Who a worker or runner is: an Ed25519 key that signs what it tells a gateway, and a worker's secret that gateways show when they dial it.

Both live in its state directory, readable by its user alone, so that a process that comes back is the same.
"""

import base64
import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

# Imported where it is used: a gateway that runs its own runner needs none of its 8 MB.
if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TIMESTAMP_HEADER = "x-penstock-timestamp"
NONCE_HEADER = "x-penstock-nonce"
SIGNATURE_HEADER = "x-penstock-signature"


class IdentityInUse(Exception):
    """Another running process has this state directory."""


@dataclass(frozen=True, slots=True)
class Identity:
    key: "Ed25519PrivateKey" = field(repr=False)
    secret: str = field(repr=False)
    """What a gateway presents as `Authorization: Bearer`."""
    lock: IO[bytes] | None = field(default=None, repr=False)

    @property
    def public_key(self) -> bytes:
        """Raw, 32 bytes."""
        return self.key.public_key().public_bytes_raw()

    def sign(self, method: str, path: str, body: bytes, now: float) -> dict[str, str]:
        """The headers that prove who sent a request; good for one call. `now` is Unix seconds; gateways accept 300 s of difference."""
        timestamp, nonce = str(int(now)), secrets.token_urlsafe(18)
        signature = self.key.sign(signed_text(method, path, timestamp, nonce, body))
        return {TIMESTAMP_HEADER: timestamp, NONCE_HEADER: nonce, SIGNATURE_HEADER: base64.b64encode(signature).decode("ascii")}

    def close(self) -> None:
        """Let another process use the state directory."""
        if self.lock is not None:
            self.lock.close()


def signed_text(method: str, path: str, timestamp: str, nonce: str, body: bytes) -> bytes:
    """What is signed, here and at the gateway."""
    return f"{method}\n{path}\n{timestamp}\n{nonce}\n{hashlib.sha256(body).hexdigest()}".encode()


def load(state_dir: Path) -> Identity:
    """The identity kept in a directory; made on the first call. Raises IdentityInUse."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = _lock(state_dir / "identity.lock")
    key = _kept(state_dir / "identity.key", lambda: Ed25519PrivateKey.generate().private_bytes_raw())
    secret = _kept(state_dir / "dial.secret", lambda: secrets.token_urlsafe(32).encode("ascii"))
    return Identity(Ed25519PrivateKey.from_private_bytes(key), secret.decode("ascii"), lock)


def _lock(path: Path) -> IO[bytes]:
    lock = path.open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise IdentityInUse(f"another process uses the state directory {path.parent}; give each worker and runner one of its own") from None
    return lock


def _kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """A file's content; a missing file is made, complete or not at all, with mode 0600."""
    if not path.exists():
        draft = path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        with draft.open("wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    return path.read_bytes()
