"""API keys that were seen: who is asking, without asking the store.

A key that was accepted once is found by its header's bytes in a dict. What was accepted stays so until one of three things:
the change feed names the key, its organisation or its plan (`forget`); its own expiry; or silence of the store for longer than
the grace (`confirm` was not called), after which a gateway cannot know what was revoked.

Only `Authorization: Bearer` counts. A second way in, such as Azure's `api-key` header, would be a second set of checks to forget.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from penstock.accounts.standing import AccountLookup, Denial, principal_of_key, principal_of_task
from penstock.domain import keys
from penstock.domain.clock import Clock
from penstock.domain.errors import PenstockError, PermissionDenied, PortUnavailable, StoreUnavailable, Unauthenticated
from penstock.domain.principal import KeyRecord, Principal, stored_actor
from penstock.domain.task_keys import PREFIX, TaskKeyClaims, TaskKeys
from penstock.serving.admission.networks import Networks

_NEGATIVE_SECONDS = 30.0
_NEGATIVE_CAPACITY = 10_000
_RETRY_SECONDS = 2.0
_TASK_SECONDS = 2.0
"""So long a task's key is believed: after the end of its attempt it is good for no longer than that."""
_LONGEST_TASK_KEY = 1_000
KEY_PARTS: Final = ("key", "organisation", "plan")
"""The kinds of changes that decide whether a key is accepted."""
_EXPIRED: Final = "This API key has expired."
_DISABLED: Final = "The organisation of this API key is disabled."
DENIALS: Final[Mapping[Denial, tuple[type[PenstockError], str]]] = {
    Denial.UNKNOWN_KEY: (Unauthenticated, "Incorrect API key provided."),
    Denial.FOREIGN_KEY: (Unauthenticated, "Incorrect API key provided."),
    Denial.REVOKED_KEY: (Unauthenticated, "This API key has been revoked."),
    Denial.EXPIRED_KEY: (Unauthenticated, _EXPIRED),
    Denial.UNKNOWN_ORGANISATION: (PermissionDenied, _DISABLED),
    Denial.DISABLED_ORGANISATION: (PermissionDenied, _DISABLED),
    Denial.NO_PLAN: (PermissionDenied, "The organisation of this API key has no valid plan."),
}


class KeyLookup(AccountLookup, Protocol):
    """The part of the port `Accounts` that finds a key by its secret. Its methods may raise PortUnavailable."""

    async def key_by_digest(self, digest: bytes) -> KeyRecord | None: ...


class LeaseLookup(Protocol):
    """The part of the port `TaskStore` that knows who holds a task. May raise PortUnavailable."""

    async def holds(self, runner_id: str, task_id: str, lease_seq: int) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A key as it was when the store was asked."""

    principal: Principal
    expires_at: float | None
    networks: Networks | None
    subjects: frozenset[tuple[str, str]]
    """What it was made of, as the change feed names it."""
    until: float | None = None
    """Monotonic time after which the store is asked again; None: not before a change is announced."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """A well-formed key that the store did not accept; asked again after `until` (monotonic)."""

    error: type[PenstockError]
    message: str
    until: float


class Pending:
    """A key that only the store can judge."""

    __slots__ = ("_address", "_header", "_ring")

    def __init__(self, ring: "KeyRing", header: bytes, address: str) -> None:
        self._ring = ring
        self._header = header
        self._address = address

    @property
    def asked(self) -> bool:
        """Whether the store is being asked already, for another request with the same key."""
        return self._ring.is_asking(self._header)

    def ask(self) -> None:
        """Ask now; `resolve` waits for the answer."""
        self._ring.question(self._header)

    async def resolve(self) -> Principal:
        """Raises Unauthenticated, PermissionDenied, StoreUnavailable."""
        return await self._ring.ask(self._header, self._address)


class KeyRing:
    """Every key that this gateway has seen, up to a capacity; the oldest go first and are asked for again."""

    def __init__(
        self,
        accounts: KeyLookup,
        secret_key: bytes,
        clock: Clock,
        *,
        grace_seconds: float = 60.0,
        capacity: int = 100_000,
        leases: LeaseLookup | None = None,
    ) -> None:
        """`leases` None: no task has a key here."""
        self._accounts = accounts
        self._leases = leases
        self._task_keys = TaskKeys(secret_key)
        self._secret_key = secret_key
        self._monotonic = clock.monotonic
        self._time = clock.time
        self._grace_seconds = grace_seconds
        self._capacity = capacity
        self._accepted: OrderedDict[bytes, _Accepted] = OrderedDict()
        self._by_subject: dict[tuple[str, str], set[bytes]] = {}
        self._refused: OrderedDict[bytes, _Refused] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[_Accepted | _Refused]] = {}
        self._generation = 0
        self._fresh_until = self._monotonic() + grace_seconds

    def __len__(self) -> int:
        return len(self._accepted)

    @property
    def fresh_until(self) -> float:
        """Monotonic time up to which keys that were seen are believed."""
        return self._fresh_until

    def find(self, authorization: bytes | None, address: str) -> Principal | Pending:
        """The principal of a header value, for a client at this address.

        Raises Unauthenticated (missing, malformed, unknown, revoked or expired key), PermissionDenied (address not allowed,
        organisation disabled), StoreUnavailable (the key was seen, but the store has been silent for too long).
        """
        accepted = self._accepted.get(authorization) if authorization is not None else None
        if accepted is None:
            return self._find_unseen(authorization, address)
        if self._monotonic() > self._fresh_until:
            raise _store_silent()
        if accepted.expires_at is None and accepted.networks is None and accepted.until is None:
            return accepted.principal
        if accepted.until is not None and self._monotonic() >= accepted.until:
            assert authorization is not None
            self._drop(authorization)
            return self._find_unseen(authorization, address)
        return self._admit(accepted, address)

    async def identify(self, authorization: bytes | None, address: str) -> Principal:
        """`find` and, where needed, `resolve`, for callers that may wait."""
        found = self.find(authorization, address)
        return await found.resolve() if isinstance(found, Pending) else found

    def confirm(self, now: float) -> None:
        """The change feed has answered at this monotonic time, and what it named has been forgotten."""
        self._fresh_until = now + self._grace_seconds

    def forget(self, subjects: Collection[tuple[str, str]]) -> None:
        """Ask again for every key of which one of these (kind, id) pairs is a part; the id `*` means every one, other kinds nothing."""
        named = [subject for subject in subjects if subject[0] in KEY_PARTS]
        if not named:
            return
        if any(subject_id == "*" for _, subject_id in named):
            self.forget_all()
            return
        self._begin_anew()
        for subject in named:
            for header in list(self._by_subject.get(subject, ())):
                self._drop(header)

    def forget_all(self) -> None:
        """Ask again for every key."""
        self._begin_anew()
        self._accepted.clear()
        self._by_subject.clear()

    async def ask(self, header: bytes, address: str) -> Principal:
        """Ask the store about a canonical header; all who wait for the same key share one question."""
        # Shielded: one client that leaves must not take the answer away from the others.
        verdict = await asyncio.shield(self.question(header))
        if isinstance(verdict, _Refused):
            raise verdict.error(verdict.message, retry=False)
        return self._admit(verdict, address)

    def is_asking(self, header: bytes) -> bool:
        return header in self._asking

    def question(self, header: bytes) -> "asyncio.Task[_Accepted | _Refused]":
        """The question to the store about a canonical header: the one under way, or a new one."""
        task = self._asking.get(header)
        if task is None:
            task = asyncio.create_task(self._judge(header))
            self._asking[header] = task
            task.add_done_callback(lambda done: self._answered(header, done))
        return task

    def _admit(self, accepted: _Accepted, address: str) -> Principal:
        if accepted.expires_at is not None and self._time() >= accepted.expires_at:
            raise Unauthenticated(_EXPIRED, retry=False)
        if accepted.networks is not None and address not in accepted.networks:
            raise PermissionDenied("This API key may not be used from this address.", retry=False)
        return accepted.principal

    def _find_unseen(self, authorization: bytes | None, address: str) -> Principal | Pending:
        header = _canonical(authorization)
        if header != authorization and header in self._accepted:
            return self.find(header, address)
        refused = self._refused.get(header)
        if refused is not None:
            if self._monotonic() < refused.until:
                raise refused.error(refused.message, retry=False)
            del self._refused[header]
        return Pending(self, header, address)

    async def _judge(self, header: bytes) -> _Accepted | _Refused:
        generation = self._generation
        try:
            verdict = await self._verdict(header)
        except PortUnavailable as error:
            raise _store_silent() from error
        # A change that was announced meanwhile may be newer than what we read: good for this one request, not to be kept.
        if generation == self._generation:
            self._keep(header, verdict)
        return verdict

    async def _verdict(self, header: bytes) -> _Accepted | _Refused:
        text = header[len(_SCHEME) :].decode("ascii")
        if text.startswith(PREFIX):
            return await self._verdict_on_task_key(text)
        key = await self._accounts.key_by_digest(keys.digest(self._secret_key, text))
        found = await principal_of_key(self._accounts, key, self._time())
        if isinstance(found, Denial):
            error, message = DENIALS[found]
            return _Refused(error, message, self._monotonic() + _NEGATIVE_SECONDS)
        assert key is not None  # it has a principal
        return _accepted(key, found)

    async def _verdict_on_task_key(self, text: str) -> _Accepted | _Refused:
        """Forged ones do not reach the store."""
        claims, now = self._task_keys.read(text), self._monotonic()
        if claims is None or self._leases is None:
            return _Refused(Unauthenticated, "Incorrect API key provided.", now + _NEGATIVE_SECONDS)
        if not await self._leases.holds(claims.runner_id, claims.task_id, claims.lease_seq):
            return _Refused(Unauthenticated, "The attempt of the task that this key belongs to has ended.", now + _NEGATIVE_SECONDS)
        actor = stored_actor(claims.org_id, claims.submitter_id)
        found = await principal_of_task(self._accounts, claims.org_id, actor, self._time())
        if isinstance(found, Denial):
            error, message = DENIALS[found]
            return _Refused(error, message, now + _NEGATIVE_SECONDS)
        return _accepted_for_task(claims, found, now + _TASK_SECONDS)

    def _keep(self, header: bytes, verdict: _Accepted | _Refused) -> None:
        if isinstance(verdict, _Refused):
            while len(self._refused) >= _NEGATIVE_CAPACITY:
                self._refused.popitem(last=False)
            self._refused[header] = verdict
            return
        if header in self._accepted:
            self._drop(header)
        while len(self._accepted) >= self._capacity:
            self._drop(next(iter(self._accepted)))
        self._accepted[header] = verdict
        for subject in verdict.subjects:
            self._by_subject.setdefault(subject, set()).add(header)

    def _drop(self, header: bytes) -> None:
        for subject in self._accepted.pop(header).subjects:
            headers = self._by_subject[subject]
            headers.discard(header)
            if not headers:
                del self._by_subject[subject]

    def _answered(self, header: bytes, task: asyncio.Task[_Accepted | _Refused]) -> None:
        if self._asking.get(header) is task:
            del self._asking[header]
        if not task.cancelled():
            task.exception()  # seen, even when all that waited have left

    def _begin_anew(self) -> None:
        """After a change no request may share a question that was asked before it, and a refused key may have become good."""
        self._generation += 1
        self._asking.clear()
        self._refused.clear()


_SCHEME = b"Bearer "


def _canonical(authorization: bytes | None) -> bytes:
    """`Bearer <key>`, with any case and spacing of the scheme. Raises Unauthenticated, without asking the store."""
    if not authorization:
        raise Unauthenticated("No API key provided: send it in the header 'Authorization: Bearer <key>'.", retry=False)
    scheme, _, token = authorization.partition(b" ")
    token = token.strip(b" ")
    if scheme.lower() != b"bearer" or not token.isascii() or not _well_formed(token.decode("ascii")):
        raise Unauthenticated("Incorrect API key provided.", retry=False)
    return _SCHEME + token


def _well_formed(text: str) -> bool:
    return keys.well_formed(text, keys.API_KEY) or (text.startswith(PREFIX) and len(text) <= _LONGEST_TASK_KEY)


def _accepted_for_task(claims: TaskKeyClaims, principal: Principal, until: float) -> _Accepted:
    subjects = {("key", claims.submitter_id), ("organisation", claims.org_id), ("plan", principal.plan.name)}
    return _Accepted(principal, None, None, frozenset(subjects), until)


def _accepted(key: KeyRecord, principal: Principal) -> _Accepted:
    return _Accepted(
        principal,
        key.expires_at,
        Networks(key.allowed_networks) if key.allowed_networks else None,
        frozenset({("key", key.id), ("organisation", key.org_id), ("plan", principal.plan.name)}),
    )


def _store_silent() -> StoreUnavailable:
    return StoreUnavailable("API keys cannot be checked at the moment.", retry_after_seconds=_RETRY_SECONDS)
