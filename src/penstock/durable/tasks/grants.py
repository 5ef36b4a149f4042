"""What lets a remote runner make the call of one inference task on its submitter's behalf: signed by us, good for that call alone.

A grant names the lease that it came with and the digest of the call. The caller of `check` also asks the store whether the lease is live.
"""

import base64
import binascii
import hashlib
import hmac

import msgspec

from penstock.domain.durable.leases import Lease
from penstock.domain.errors import PermissionDenied

_SECONDS = 24 * 3_600.0
_MAC_BYTES = 32
_MOST_SPENT = 100_000


class Grant(msgspec.Struct, frozen=True, array_like=True):
    task_id: str
    runner_id: str
    org_id: str
    submitter_id: str
    """The stored form of the submitter's actor."""
    lease_seq: int
    call: str
    """`digest_of_call` of what the task asks for."""
    expires_at: float


class _Payload(msgspec.Struct, frozen=True, rename={"class_": "class"}):
    url: str
    body: msgspec.Raw
    class_: str = "batch"


def digest_of_call(url: str, body: bytes, *, own_class: bool) -> str:
    head = f"{'own' if own_class else 'batch'} {url}\n".encode()
    return hashlib.sha256(head + body).hexdigest()


def _call_of(payload: str) -> str:
    """Of a payload that is none, a digest that no call has: its runner ends the task without one."""
    try:
        asked = msgspec.json.decode(payload, type=_Payload)
    except msgspec.MsgspecError:
        return ""
    return digest_of_call(asked.url, bytes(asked.body), own_class=asked.class_ == "own")


class Grants:
    """Every gateway of an installation has the same secret, so that any of them can be asked."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hmac.digest(secret, b"inference grants", hashlib.sha256)
        self._spent: dict[tuple[str, int], None] = {}

    def issue(self, lease: Lease, runner_id: str, now: float) -> str:
        call = _call_of(lease.payload)
        grant = Grant(lease.task_id, runner_id, lease.org_id, lease.key_id, lease.lease_seq, call, now + _SECONDS)
        body = msgspec.json.encode(grant)
        return base64.urlsafe_b64encode(hmac.digest(self._secret, body, hashlib.sha256) + body).decode()

    def check(self, text: str, runner_id: str, call: str, now: float) -> Grant:
        """The grant, which must be for this call (`digest_of_call`). Raises PermissionDenied."""
        try:
            data = base64.urlsafe_b64decode(text)
        except (binascii.Error, ValueError):
            raise _refused() from None
        mac, body = data[:_MAC_BYTES], data[_MAC_BYTES:]
        if not hmac.compare_digest(mac, hmac.digest(self._secret, body, hashlib.sha256)):
            raise _refused()
        try:
            grant = msgspec.json.decode(body, type=Grant)
        except msgspec.MsgspecError:
            raise _refused() from None  # of the version before
        if grant.runner_id != runner_id or grant.expires_at < now:
            raise _refused()
        if not hmac.compare_digest(grant.call, call):
            raise PermissionDenied("This grant is for another call than this one.", param="grant")
        return grant

    def spend(self, grant: Grant) -> None:
        """A lease allows one call; another attempt has another lease. Raises PermissionDenied."""
        lease = (grant.task_id, grant.lease_seq)
        if lease in self._spent:
            raise PermissionDenied("The call of this lease has been made.", param="grant")
        self._spent[lease] = None
        if len(self._spent) > _MOST_SPENT:
            del self._spent[next(iter(self._spent))]


def _refused() -> PermissionDenied:
    return PermissionDenied("This grant is not good for this runner's call.", param="grant")


def webhook_secret(secret: bytes, org_id: str) -> str:
    """With what an organisation's webhooks are signed: `whsec_` and base64, the same as long as the installation's secret is."""
    return f"whsec_{base64.b64encode(hmac.digest(secret, b'webhook:' + org_id.encode(), hashlib.sha256)).decode()}"
