"""What the engine of a worker said, asked of the worker itself."""

from collections.abc import Sequence

import httpx

from penstock.domain.errors import NotFound, UpstreamFailed
from penstock.domain.workers import WorkerKind, WorkerRecord

_SECONDS = 10.0


async def tail(record: WorkerRecord, lines: int) -> Sequence[str]:
    """The last lines, oldest first. Raises NotFound where the engine keeps no log of its own, UpstreamFailed for a worker that is away."""
    if record.kind is WorkerKind.UPSTREAM:
        raise NotFound("An upstream keeps its log to itself: it is on its own machine.")
    headers = {"authorization": f"Bearer {record.secret}"}
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_SECONDS) as client:
            response = await client.get(f"{record.base_url}/penstock/logs", params={"lines": lines}, headers=headers)
        if response.status_code == 404:
            raise NotFound("The engine of this worker runs in the worker itself and keeps no log of its own.")
        response.raise_for_status()
        return [str(line) for line in response.json()["lines"]]
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        raise UpstreamFailed("The worker does not answer.") from error
