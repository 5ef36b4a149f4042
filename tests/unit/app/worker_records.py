"""Records of workers and upstreams, as the store would keep them."""

from typing import Any

from penstock.domain.workers import ModelOffer, WorkerKind, WorkerRecord


def worker(worker_id: str = "wrk_a", **values: Any) -> WorkerRecord:
    return _record(worker_id, WorkerKind.WORKER, values)


def upstream(worker_id: str = "ups_a", **values: Any) -> WorkerRecord:
    return _record(worker_id, WorkerKind.UPSTREAM, values)


def offers(*names: str) -> tuple[ModelOffer, ...]:
    return tuple(ModelOffer(name) for name in names)


def _record(worker_id: str, kind: WorkerKind, values: dict[str, Any]) -> WorkerRecord:
    given: dict[str, Any] = {
        "name": worker_id,
        "engine": "sim",
        "base_url": f"http://127.0.0.1:1/{worker_id}",
        "models": offers("m"),
        "slots": 4,
        "secret": "s3cret",
    }
    return WorkerRecord(id=worker_id, kind=kind, **(given | values))
