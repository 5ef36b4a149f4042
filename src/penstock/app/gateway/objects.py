"""OpenAI's stored objects, assembled: where their contents lie, their rules, and who tidies up."""

from collections.abc import Callable
from functools import partial

from penstock.app.gateway.chores import Chore, Chores
from penstock.app.settings import Settings
from penstock.catalog.models import Catalogue
from penstock.domain.clock import Clock
from penstock.domain.durable.batches import BatchUsage
from penstock.domain.ids import new_id
from penstock.domain.ports import Store
from penstock.domain.principal import ServiceTier
from penstock.domain.tokens import TokenCount
from penstock.durable.batches.processor import BatchProcessor
from penstock.durable.batches.service import BatchService
from penstock.durable.files.service import FileService
from penstock.durable.responses.service import ResponseService
from penstock.serving.usage.pricing import cost_micros
from penstock.storage.blobs import make_blobs

_SWEEP_EVERY_SECONDS = 600.0
_ABANDONED_SECONDS = 3600.0
_SETTLE_EVERY_SECONDS = 5.0
_STEP_EVERY_SECONDS = 1.0


def _line_cost(catalogue: Callable[[], Catalogue], model: str, used: BatchUsage) -> tuple[str, int]:
    """What the meter counts for one line, which is of the class batch."""
    models = catalogue()
    price = models.price(models.resolve(model))
    count = TokenCount(used.input_tokens, used.output_tokens, used.cached_tokens, used.reasoning_tokens)
    return price.currency, cost_micros(price, ServiceTier.DEFAULT, count, batch=True)


class StoredObjects:
    """Files, batches and kept answers. `open` before their first use, `close` before the store."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, catalogue: Callable[[], Catalogue]) -> None:
        """`catalogue`: the models and their prices as they are now."""
        self._blobs = make_blobs("local", settings.files.directory or settings.data_dir / "files")
        self._is_ours_alone = settings.store_url.startswith("sqlite")
        limits = settings.files
        self.files = FileService(store.files, self._blobs, clock, max_bytes=limits.max_bytes, max_org_bytes=limits.max_organisation_bytes)
        self.responses = ResponseService(store.responses, store.tasks, clock, max_bytes=settings.http.max_body_bytes)
        self.batches = BatchService(store.batches, self.files, clock)
        # On SQLite there is no other gateway: a gateway that comes back need not wait until its own claims run out.
        owner = "alone" if self._is_ours_alone else new_id("gw")
        self._work = BatchProcessor(store.batches, store.tasks, self.files, clock, owner, partial(_line_cost, catalogue))

    async def open(self) -> None:
        """Raises PortUnavailable."""
        await self._blobs.open()
        if self._is_ours_alone:
            # What a crash left behind has no owner: this process alone writes here.
            await self.files.sweep(idle_seconds=0.0)

    def start(self, chores: Chores, *, held: bool = False) -> None:
        """`held`: batches stand still."""
        chores.start(Chore("sweep files", _SWEEP_EVERY_SECONDS, lambda: self.files.sweep(_ABANDONED_SECONDS)))
        if not held:
            chores.start(Chore("batches", _STEP_EVERY_SECONDS, self._work.step))
        chores.start(Chore("settle answers", _SETTLE_EVERY_SECONDS, self.responses.refresh_unfinished))
        chores.start(Chore("forget answers", _SWEEP_EVERY_SECONDS, self.responses.forget_expired))

    async def close(self) -> None:
        await self._work.close()
