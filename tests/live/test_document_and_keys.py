"""Schemathesis against a whole platform: the routes of inference with a valid key, and every route with each kind of invalid key."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from penstock.domain import keys
from penstock.edge.application import openapi_document
from tests.flow.edge.routes import FAST_LANE, SIGNED
from tests.live.platform import Platform, running

IN_SHAPE = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OPEN = frozenset({"/livez", "/readyz", "/healthz", "/metrics", "/openapi.json", "/docs", "/"})
MODEL = "sim-small"
PLENTY = {"PENSTOCK_ADMISSION__UNAUTHENTICATED_PER_MINUTE": "1000000", "PENSTOCK_ADMISSION__API_PER_MINUTE": "1000000"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A process of its own: Hypothesis minds when somebody else draws random numbers in this one."""
    with running(Platform(tmp_path_factory.mktemp("served"), "--workers", "1", environment=PLENTY)) as platform:
        yield platform


def documented(*, inference: bool) -> BaseSchema:
    whole = openapi_document("0")
    whole["paths"] = {path: item for path, item in whole["paths"].items() if not inference or path in FAST_LANE}
    return schemathesis.openapi.from_dict(whole, config=SchemathesisConfig())


def few(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # what the document gives as examples would come by the hundred
    )


@documented(inference=True).parametrize()
@few(40)
@pytest.mark.fault("Every route with valid and invalid input and keys (schemathesis)", "no 5xx, every error in its documented shape")
def test_inference_with_a_valid_key(case: schemathesis.Case[Any], served: Platform) -> None:
    """Half of the calls name a model that is there, so that they go all the way."""
    if isinstance(case.body, dict) and len(str(case.body)) % 2:
        case.body["model"] = MODEL
    answer = case.call(base_url=served.root, headers={"authorization": f"Bearer {served.api_key}"}, timeout=30)
    if "x-request-id" not in answer.headers:
        assert answer.status_code == 400  # the server refused it as HTTP, before the application
        return
    case.validate_response(answer, checks=IN_SHAPE)


def strangers() -> list[dict[str, str]]:
    """Nothing, nonsense, another scheme, a key in the right form that nobody made."""
    return [{}, {"authorization": "Bearer psk-wrong"}, {"authorization": "Basic eDp5"}, {"authorization": f"Bearer {unknown()}"}]


def unknown() -> str:
    return keys.new_secret(keys.API_KEY)


@documented(inference=False).parametrize()
@few(3)
@pytest.mark.fault("Every route with valid and invalid input and keys (schemathesis)", "no 5xx, every error in its documented shape")
def test_every_route_with_invalid_keys(case: schemathesis.Case[Any], served: Platform) -> None:
    for stranger in strangers():
        answer = case.call(base_url=served.root, headers=stranger, timeout=30)
        if "x-request-id" not in answer.headers:
            assert answer.status_code == 400
            continue
        if case.operation.path not in OPEN | SIGNED:
            assert answer.status_code in (400, 401, 405, 413), (answer.status_code, answer.text)
        case.validate_response(answer, checks=IN_SHAPE)
