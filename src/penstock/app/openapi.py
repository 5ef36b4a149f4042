"""`penstock openapi`: the document of the whole HTTP API, without a running gateway."""

from typing import Any

from penstock import __version__
from penstock.edge.application import openapi_document


def document() -> dict[str, Any]:
    return openapi_document(__version__)
