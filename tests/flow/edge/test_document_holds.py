"""Schemathesis, bounded: calls made from the document, good and bad, get the answers that the document promises. Real HTTP."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from penstock.edge.application import openapi_document
from tests.flow.edge.control_api import gateway
from tests.flow.edge.routes import FAST_LANE


@dataclass
class Served:
    """A gateway behind uvicorn, in a thread and an event loop of its own."""

    base_url: str
    headers: dict[str, str]


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    ready: Future[tuple[_Server, Served]] = Future()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(serve(listener, ready)), daemon=True)
        thread.start()
        server, answer = ready.result(30)
        assert server.listening.wait(30)
        yield answer
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


async def serve(listener: socket.socket, ready: Future[tuple[_Server, Served]]) -> None:
    async with gateway() as gate:
        server = _Server(uvicorn.Config(gate.app, log_config=None, lifespan="off"))
        ready.set_result((server, Served(f"http://127.0.0.1:{listener.getsockname()[1]}", gate.admin)))
        await server.serve(sockets=[listener])


def documented() -> BaseSchema:
    """Without the inference routes, which the fast lane serves, and without what a worker signs."""
    whole = openapi_document("0")
    signed = [path for path, item in whole["paths"].items() if "x-penstock-signature" in str(item)]
    for path in (*FAST_LANE, *signed):
        del whole["paths"][path]
    return schemathesis.openapi.from_dict(whole, config=SchemathesisConfig())


BEYOND_A_SCHEMA = frozenset(
    {"base_url", "allowed_networks", "plan", "name", "owned_by", "policy", "cron", "time_zone", "tasks", "after", "priority", "run_at"}
    | {"ca", "client_certificate", "client_key", "max_running_per_key", "filter"}
)
"""Fields with rules that JSON Schema cannot say: which hosts may be dialled, plans and policies there are, what a cron expression means,
what a certificate is, which field another one needs, that an empty filter takes `all`."""
OF_EACH_OTHER = frozenset({"background", "previous_response_id", "stream", "text", "tool_choice", "max_output_tokens", "top_logprobs"})
"""Fields of the Responses API whose values depend on each other or on answers before, or must be written as whole numbers."""


def param_of(document: dict[str, Any]) -> str:
    """In either shape of an error."""
    return str(document.get("error", document).get("param"))


@documented().parametrize()
@settings(max_examples=10, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@pytest.mark.fault("Every route with valid and invalid input and keys (schemathesis)", "no 5xx, every error in its documented shape")
def test_every_answer_is_as_documented(case: schemathesis.Case[Any], served: Served) -> None:
    answer = case.call(base_url=served.base_url, headers=served.headers)
    if "x-request-id" not in answer.headers:
        assert answer.status_code == 400  # the server refused it as HTTP, before the application
        return
    excluded = [ignored_auth]  # another test leaves out the key of every route
    if answer.status_code in (400, 422) and param_of(answer.json()).partition(".")[0] in BEYOND_A_SCHEMA | OF_EACH_OTHER:
        excluded.append(positive_data_acceptance)
    if answer.status_code == 412:  # no schema knows which version is in force
        excluded.append(positive_data_acceptance)
    case.validate_response(answer, excluded_checks=excluded)
