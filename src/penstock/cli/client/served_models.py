"""Which models can be asked."""

from penstock.cli.client.api import Api
from penstock.cli.exits import ExitCode, Failed


def model_ids(api: Api) -> list[str]:
    """In the gateway's order."""
    return [model["id"] for model in api.get("/v1/models")["data"] if not model.get("alias_of")]


def first_model(api: Api) -> str:
    """What is meant when no model is named. Raises Failed when there is none."""
    models = model_ids(api)
    if not models:
        raise Failed("the gateway has no model", ExitCode.NOT_FOUND, hint="`penstock workers list` shows whether a worker has joined")
    return models[0]
