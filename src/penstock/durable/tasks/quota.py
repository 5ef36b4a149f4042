"""How many tasks an organisation may have in the store: counted seldom, and between two counts by what this process adds."""

from penstock.domain.errors import QuotaExhausted
from penstock.domain.ports import TaskStore
from penstock.domain.principal import Principal

_FRESH_SECONDS = 600.0
_RECOUNT_SECONDS = 2.0
"""For an organisation at its bound: it may have deleted some."""
_MOST_KNOWN = 10_000


class TaskQuota:
    """Every gateway counts for itself: the bound may be passed by what the others add until the next count."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self._known: dict[str, tuple[int, float]] = {}

    async def add(self, caller: Principal, more: int) -> None:
        """Raises QuotaExhausted, PortUnavailable."""
        org_id, most, now = caller.org_id, caller.plan.tasks, self._store.now()
        count, counted_at = self._known.get(org_id, (0, 0.0))
        age = now - counted_at
        if age > _FRESH_SECONDS or (count + more > most and age > _RECOUNT_SECONDS):
            count, counted_at = await self._store.stored_tasks(org_id, most + 1), now
        if count + more > most:
            self._known[org_id] = count, counted_at
            message = (
                f"The plan of this organisation allows {most} tasks in the store, ended ones included: delete some, or set keep_seconds."
            )
            raise QuotaExhausted(message, param="tasks", retry=False)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[org_id] = count + more, counted_at


def check_schedules(caller: Principal, existing: int) -> None:
    """Before one more. Raises QuotaExhausted."""
    if existing >= caller.plan.schedules:
        message = f"The plan of this organisation allows {caller.plan.schedules} schedules: remove some."
        raise QuotaExhausted(message, retry=False)
