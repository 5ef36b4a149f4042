"""A key for the code of one running task: signed by a gateway, good as long as the task's lease, with the rights of its submitter."""

import base64
import binascii
import hashlib
import hmac
from typing import Final

import msgspec

from penstock.domain.durable.leases import Lease

PREFIX: Final = "ptk-"
_MAC_BYTES: Final = 32
_LONGEST: Final = 1_000


class TaskKeyClaims(msgspec.Struct, frozen=True, array_like=True):
    """What the key says; the signature makes it true."""

    task_id: str
    runner_id: str
    lease_seq: int
    """Another attempt has another lease, and with it another key."""
    org_id: str
    submitter_id: str
    """The stored form of the submitter's actor."""


def claims_of(lease: Lease, runner_id: str) -> TaskKeyClaims:
    return TaskKeyClaims(lease.task_id, runner_id, lease.lease_seq, lease.org_id, lease.key_id)


class TaskKeys:
    """Issues and reads them. Every gateway of an installation has the same secret."""

    def __init__(self, secret_key: bytes) -> None:
        self._secret = hmac.digest(secret_key, b"task keys", hashlib.sha256)

    def issue(self, claims: TaskKeyClaims) -> str:
        body = msgspec.json.encode(claims)
        return PREFIX + base64.urlsafe_b64encode(hmac.digest(self._secret, body, hashlib.sha256) + body).decode().rstrip("=")

    def read(self, text: str) -> TaskKeyClaims | None:
        """None: we have not issued it. Whether its lease is still live, only the store knows."""
        if not text.startswith(PREFIX) or len(text) > _LONGEST:
            return None
        coded = text[len(PREFIX) :]
        try:
            data = base64.b64decode(coded + "=" * (-len(coded) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        mac, body = data[:_MAC_BYTES], data[_MAC_BYTES:]
        if not hmac.compare_digest(mac, hmac.digest(self._secret, body, hashlib.sha256)):
            return None
        return msgspec.json.decode(body, type=TaskKeyClaims)
