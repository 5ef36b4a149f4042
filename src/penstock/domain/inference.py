"""A request for tokens, as the rooms between the edge and the workers see it."""

import re
from enum import StrEnum

_VERSION = re.compile(r"v\d+((alpha|beta|preview)\d*)?")
_DEPLOYMENT = re.compile(r".*/openai/deployments/[^/]+")


class Operation(StrEnum):
    """The inference calls; the value is OpenTelemetry's `gen_ai.operation.name`."""

    CHAT = "chat"
    COMPLETION = "text_completion"
    EMBEDDING = "embeddings"
    INFER = "infer"
    """Tensors in, tensors out (KServe's protocol); the word is ours, OpenTelemetry has none."""


OPERATION_NAMES = {operation: operation.value for operation in Operation}
"""Plain strings: an enum's `value` is a property, and too slow for what is asked for every request."""

OPERATION_PATHS = {
    Operation.CHAT: "/v1/chat/completions",
    Operation.COMPLETION: "/v1/completions",
    Operation.EMBEDDING: "/v1/embeddings",
    Operation.INFER: "/v1/infer",
}
"""Where a worker serves them, and the gateway as well, but for tensors: there clients name the model in the path,
`/v1/models/{model}/infer`, and the gateway puts it into the body, where every other operation has it."""

CLIENT_PATHS = {path: operation for operation, path in OPERATION_PATHS.items() if operation is not Operation.INFER}
"""What clients call under a path that is always the same."""


def names_version(base_path: str) -> bool:
    """Whether a server's base path says which version of the API it serves (`/v1`, `/api/v3`, `/v1beta/openai`); Azure's need not."""
    return any(_VERSION.fullmatch(part) for part in base_path.split("/")) or _DEPLOYMENT.fullmatch(base_path) is not None


def short_base(url: str) -> str:
    """An address without a closing slash, and without a closing `/v1` that every path of the API adds by itself."""
    url = url.rstrip("/")
    short = url.removesuffix("/v1").rstrip("/")
    path = short.partition("://")[2].partition("/")[2]
    return url if names_version(f"/{path}") else short


def api_path(base_path: str, path: str) -> str:
    """The whole path of a call (`/v1/...`) at a server: a base path that names a version is taken as it is."""
    return base_path + (path.removeprefix("/v1") if names_version(base_path) else path)
