"""Workers as routing sees them."""

from penstock.domain.workers import ModelOffer, WorkerKind, WorkerRecord, WorkerState
from penstock.serving.routing.member import Member


def worker(
    name: str, slots: int = 4, *, pool: str | None = None, models: tuple[str, ...] = ("m",), org_id: str | None = None
) -> WorkerRecord:
    offers = tuple(ModelOffer(model) for model in models)
    return WorkerRecord(name, name, WorkerKind.WORKER, "sim", "http://127.0.0.1:1", offers, slots, pool, org_id)


def ready(name: str, slots: int = 4, *, pool: str | None = None) -> Member:
    member = Member(worker(name, slots, pool=pool), 0.0)
    member.move(WorkerState.READY)
    return member
