"""The route table, read from the document, with one acceptable call for each route."""

import json
from dataclasses import dataclass
from typing import Any

from penstock.edge.application import openapi_document

RUNNERS_SAY = ("claim", "news", "beat", "finish", "progress", "call", "leave")
SIGNED = frozenset({"/api/workers/join", "/api/workers/{worker_id}/heartbeat", "/api/workers/{worker_id}/leave", "/api/runners/join"}) | {
    f"/api/runners/{{runner_id}}/{what}" for what in RUNNERS_SAY
}
FAST_LANE = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models/{model}/infer"})
NOWHERE = "zzz_00000000000000000000000000"

BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("post", "/api/orgs"): {"name": "new", "plan": "enterprise"},
    ("patch", "/api/orgs/{org_id}"): {"name": "renamed"},
    ("post", "/api/keys"): {"name": "new", "scopes": []},  # each test fills in scopes that its role has
    ("post", "/api/join-tokens"): {"role": "worker"},
    ("put", "/api/models/{model_id}"): {"context_length": 4096},
    ("put", "/api/policy"): {"policy": {"shedding": {"batch_factor": 299}}},
    ("post", "/api/policy/rollback"): {"version": 0},
    ("post", "/api/workers"): {"name": "upstream", "base_url": "http://127.0.0.1:9"},
    ("patch", "/api/workers/{worker_id}"): {"slots": 3},
    ("patch", "/api/keys/{key_id}"): {"name": "renamed"},
    ("post", "/api/keys/{key_id}/rotate"): {},
    ("post", "/api/tasks"): {"kind": "inference", "payload": {"url": "/v1/embeddings", "body": {}}},
    ("post", "/api/tasks/results"): {"ids": ["task_0000000000000001"]},
    ("post", "/api/tasks/actions"): {"action": "cancel", "filter": {"queue": "low"}},
    ("patch", "/api/queues/{queue}"): {"max_running": 3},
    ("post", "/api/schedules"): {"name": "nightly", "cron": "@daily", "task": {"name": "tidy"}},
    ("patch", "/api/schedules/{schedule_id}"): {"paused": True},
    ("post", "/v1/batches"): {"input_file_id": "file-nothing", "endpoint": "/v1/chat/completions", "completion_window": "24h"},
    ("post", "/v1/responses"): {"model": "nobody/has-it", "input": "hello"},
}


@dataclass(frozen=True)
class Route:
    """One operation of the document."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> list[str]:
        return [piece[1:-1] for piece in self.path.split("/") if piece.startswith("{")]

    @property
    def body(self) -> dict[str, Any] | None:
        return BODIES.get((self.method, self.path))

    def url(self, identifier: str = NOWHERE) -> str:
        path = self.path
        for name in self.parameters:
            path = path.replace(f"{{{name}}}", identifier)
        return path


def routes() -> list[Route]:
    """Every operation that FastAPI serves."""
    document = json.loads(json.dumps(openapi_document("0")))
    return [
        Route(method, path)
        for path, item in document["paths"].items()
        if path not in FAST_LANE
        for method in item
        if method in ("get", "put", "post", "patch", "delete")
    ]


GUARDED = [route for route in routes() if route.path.startswith(("/api", "/v1")) and route.path not in SIGNED]
BODIED = [route for route in GUARDED if route.body is not None and route.path.startswith("/api")]
BODIED_V1 = [route for route in GUARDED if route.body is not None and route.path.startswith("/v1")]
"""Routes behind a key."""
