"""What an engine needs of a Triton server, whichever way it is reached, and the errors that both ways share."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog

from penstock.compute.engines._triton.text import Fields, ModelInfo
from penstock.domain.errors import BadRequest, ModelNotFound, Overloaded, PenstockError, UpstreamFailed
from penstock.wire.tensors import InferRequest

_LONGEST_MESSAGE: Final = 2000
_log = structlog.get_logger()


class TritonServer(Protocol):
    """Questions raise ProbeFailed, requests the domain's errors."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def ready(self) -> bool: ...

    async def has(self, name: str) -> bool:
        """Whether a model is ready. Servers without a repository API know it too."""
        ...

    async def ready_models(self) -> Sequence[str]:
        """From the repository's index."""
        ...

    async def describe(self, name: str) -> ModelInfo: ...

    async def load(self, name: str) -> None: ...
    async def unload(self, name: str) -> None: ...

    async def infer(self, request: InferRequest, body: bytes) -> bytes:
        """The JSON of the answer; `body` is the request as it came, checked."""
        ...

    def generate(self, info: ModelInfo, fields: Fields) -> AsyncGenerator[Sequence[Mapping[str, Any]], None]:
        """The output tensors of each response, by name; those together that came together. Closing it stops the generation."""
        ...


def error_of(unavailable: bool, missing: bool, message: str) -> PenstockError:
    """Triton's messages name models, tensors and shapes; what it says of itself is not passed on."""
    if missing:
        return ModelNotFound(message or "The engine does not have this model.", param="model")
    if unavailable:
        return Overloaded("The engine has no room for another request.", retry_after_seconds=1.0)
    return BadRequest(message) if message else UpstreamFailed("The engine failed.")


def log_failure(model: str, status: int | str, message: str) -> None:
    """What the caller is not told: the operator finds it in the worker's log."""
    _log.warning("engine_failed", model=model, status=status, reason=message[:_LONGEST_MESSAGE])
