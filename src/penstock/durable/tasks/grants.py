"""What lets a remote runner make the call of one inference task on its submitter's behalf: signed by us, good for that task and a while."""

import base64
import binascii
import hashlib
import hmac

import msgspec

from penstock.domain.errors import PermissionDenied

_SECONDS = 24 * 3_600.0
_MAC_BYTES = 32


class Grant(msgspec.Struct, frozen=True, array_like=True):
    task_id: str
    runner_id: str
    org_id: str
    submitter_id: str
    """The stored form of the submitter's actor."""
    expires_at: float


class Grants:
    """Every gateway of an installation has the same secret, so that any of them can be asked."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hmac.digest(secret, b"inference grants", hashlib.sha256)

    def issue(self, task_id: str, runner_id: str, org_id: str, submitter_id: str, now: float) -> str:
        body = msgspec.json.encode(Grant(task_id, runner_id, org_id, submitter_id, now + _SECONDS))
        return base64.urlsafe_b64encode(hmac.digest(self._secret, body, hashlib.sha256) + body).decode()

    def check(self, text: str, runner_id: str, now: float) -> Grant:
        """Raises PermissionDenied."""
        try:
            data = base64.urlsafe_b64decode(text)
        except (binascii.Error, ValueError):
            raise _refused() from None
        mac, body = data[:_MAC_BYTES], data[_MAC_BYTES:]
        if not hmac.compare_digest(mac, hmac.digest(self._secret, body, hashlib.sha256)):
            raise _refused()
        grant = msgspec.json.decode(body, type=Grant)
        if grant.runner_id != runner_id or grant.expires_at < now:
            raise _refused()
        return grant


def _refused() -> PermissionDenied:
    return PermissionDenied("This grant is not good for this runner's call.", param="grant")


def webhook_secret(secret: bytes, org_id: str) -> str:
    """With what an organisation's webhooks are signed: `whsec_` and base64, the same as long as the installation's secret is."""
    return f"whsec_{base64.b64encode(hmac.digest(secret, b'webhook:' + org_id.encode(), hashlib.sha256)).decode()}"
