"""Leases for runners: of submitters who still may, with the results of parents and with the secret that a webhook needs."""

import asyncio
from collections.abc import Callable, Collection
from random import Random

import msgspec
from msgspec.structs import replace

from penstock.domain.durable.leases import HEARTBEAT_SECONDS, LEASE_SECONDS, Lease, LeaseCompletion, LeaseRef, RunnerRecord
from penstock.domain.errors import TooLarge, Unprocessable
from penstock.domain.ports import TaskStore
from penstock.durable.tasks.limits import PARENTS_CHARACTERS, RESOLVED_BYTES
from penstock.durable.tasks.outcome import AttemptFailed, Released, TaskOutcome, completion_of
from penstock.durable.tasks.specs import references
from penstock.durable.tasks.submitters import SubmitterRevoked, Submitters

LONGEST_WAIT_SECONDS = LEASE_SECONDS - HEARTBEAT_SECONDS
"""For one claim. A runner that freezes while it waits keeps its connection: what it is given must come before it is given up."""
_ANSWER_CHARACTERS = 16_000_000
"""Payloads of one claim together: what comes after that is given back, for the next claim."""
_PREPARE_SECONDS = 3.0
"""For one claim. Leases that their runner does not name in time count as lost on the way."""
_LIGHT_CHARACTERS = 65_536
"""A payload and its parents' results of this size are put together in a moment; larger ones beside the event loop, one at a time."""
_MOST_LOSSES = 2
_SET_ASIDE = AttemptFailed(
    "set_aside",
    "Two gateways stopped while they put the results of its parents into this task's payload: it is not tried again.",
    final=True,
)


class LeaseIssuer:
    """Between the store and every runner, whichever way it is joined."""

    def __init__(self, store: TaskStore, submitters: Submitters, webhook_secret: Callable[[str], str], random: Random) -> None:
        """`webhook_secret`: of an organisation."""
        self._store = store
        self._submitters = submitters
        self._webhook_secret = webhook_secret
        self._random = random
        self._closing = asyncio.Event()
        self._heavy = asyncio.Semaphore(1)

    def close(self) -> None:
        """This process stops: claims that wait are answered now."""
        self._closing.set()

    async def claim(self, runner_id: str, limit: int, queues: Collection[str], kinds: Collection[str], org_id: str | None) -> list[Lease]:
        """At most `limit` leases. A task that may not run ends here, as failed, with the reason. Raises PortUnavailable."""
        while leases := await self._store.claim(runner_id, limit, queues, org_id, kinds):
            issued: list[Lease] = []
            refused: list[LeaseCompletion] = []
            begun, characters = self._store.now(), 0
            for lease in leases:
                ready: Lease | TaskOutcome = Released()
                if not issued or (characters < _ANSWER_CHARACTERS and self._store.now() - begun < _PREPARE_SECONDS):
                    ready = await self._prepare(runner_id, lease)
                if isinstance(ready, Lease):
                    issued.append(ready)
                    characters += len(ready.payload)
                else:
                    refused.append(completion_of(lease, ready, self._store.now(), self._random))
            if refused:
                await self._store.finish(runner_id, refused)
            if issued:
                return issued
            # All of them refused: others may stand behind them, and no news will come of those.
        return []

    async def claim_or_wait(
        self, runner: RunnerRecord, limit: int, queues: Collection[str], kinds: Collection[str], wait_seconds: float
    ) -> list[Lease]:
        """A claim that waits until there may be something for it; empty after that time, at most `LONGEST_WAIT_SECONDS`.

        `kinds` empty: all that the runner can.
        """
        kinds = kinds or runner.kinds
        ticket = self._store.ticket()
        leases = await self.claim(runner.id, limit, queues, kinds, runner.org_id)
        if leases or wait_seconds <= 0 or not await self.wait(ticket, queues, min(wait_seconds, LONGEST_WAIT_SECONDS)):
            return leases
        return await self.claim(runner.id, limit, queues, kinds, runner.org_id)

    async def wait(self, ticket: int, queues: Collection[str], seconds: float) -> bool:
        """As the store's, but cut short when this process stops."""
        if self._closing.is_set():
            return False
        waiting = asyncio.ensure_future(self._store.wait(ticket, queues, seconds))
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait([waiting, closing], return_when=asyncio.FIRST_COMPLETED)
            return waiting.done() and waiting.result()
        finally:
            waiting.cancel()
            closing.cancel()

    async def _prepare(self, runner_id: str, lease: Lease) -> Lease | AttemptFailed:
        submitter = await self._submitters.principal(lease.org_id, lease.key_id)
        if isinstance(submitter, SubmitterRevoked):
            return AttemptFailed(submitter.code, submitter.message, final=True)
        if lease.has_parents and references.mentions(lease.payload):
            try:
                payload = await self._resolved(runner_id, lease)
            except (TooLarge, Unprocessable) as error:
                return AttemptFailed(error.code, error.message, final=True)
            if payload is None:
                return _SET_ASIDE
            lease = replace(lease, payload=payload)
        if lease.kind == "webhook":
            return self._add_webhook_secret(lease)
        return lease

    async def _resolved(self, runner_id: str, lease: Lease) -> str | None:
        """The payload with its parents' results; None when this was tried too often by gateways that did not survive it."""
        if len(lease.payload) <= _LIGHT_CHARACTERS:
            named = references.parents_named(lease.payload)
            parents = await self._store.parent_results(lease.task_id, named, PARENTS_CHARACTERS)
            if sum(len(parent.result or "") for parent in parents) <= _LIGHT_CHARACTERS:
                return references.resolve(lease.payload, parents, RESOLVED_BYTES)
        async with self._heavy:
            return await self._resolved_beside(lease, runner_id)

    async def _resolved_beside(self, lease: Lease, runner_id: str) -> str | None:
        """In a thread, under a note that only a process that ends here leaves behind."""
        ref = LeaseRef(lease.task_id, lease.lease_seq)
        if await self._store.note_resolving(runner_id, ref) >= _MOST_LOSSES:
            return None
        try:
            named = await asyncio.to_thread(references.parents_named, lease.payload)
            parents = await self._store.parent_results(lease.task_id, named, PARENTS_CHARACTERS)
            return await asyncio.to_thread(references.resolve, lease.payload, parents, RESOLVED_BYTES)
        finally:
            await self._store.note_resolved(runner_id, ref)

    def _add_webhook_secret(self, lease: Lease) -> Lease | AttemptFailed:
        payload = msgspec.json.decode(lease.payload)
        if not isinstance(payload, dict):
            return AttemptFailed("bad_payload", "A webhook's payload is an object with a url.", final=True)
        return replace(lease, payload=msgspec.json.encode({**payload, "secret": self._webhook_secret(lease.org_id)}).decode())
