"""What the engine of a worker wrote to its log, asked of the worker itself. A tenant may own the worker: nothing of it is believed."""

from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx
import msgspec

from penstock.domain.errors import NotFound, UpstreamFailed
from penstock.domain.workers import WorkerKind, WorkerRecord
from penstock.net.reach import Reach

_SECONDS = 10.0
_MOST_BYTES = 4 * 2**20
_LONGEST_LINE = 4_000
_PORTS = {"http": 80, "https": 443}


class _Tail(msgspec.Struct):
    lines: list[str]


async def tail(record: WorkerRecord, lines: int, reach: Reach | None = None) -> Sequence[str]:
    """The last lines, oldest first, without control characters. `reach`: where the worker may be; None: anywhere.

    Raises NotFound where the engine keeps no log of its own, UpstreamFailed for a worker that is away or sends something else.
    """
    if record.kind is WorkerKind.UPSTREAM:
        raise NotFound("An upstream keeps its log to itself: it is on its own machine.")
    try:
        content = await _fetch(record, lines, reach)
        return [_readable(line) for line in msgspec.json.decode(content, type=_Tail).lines[-lines:]]
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise UpstreamFailed("The worker does not answer.") from error


async def _fetch(record: WorkerRecord, lines: int, reach: Reach | None) -> bytes:
    url = urlsplit(record.base_url)
    headers = {"authorization": f"Bearer {record.secret}", "accept-encoding": "identity", "host": url.netloc}
    target = f"{record.base_url}/penstock/logs"
    if reach is not None and url.hostname is not None:
        address = await reach.address_of(url.hostname, url.port or _PORTS[url.scheme])
        host = f"[{address}]" if ":" in address else address
        target = url._replace(netloc=host + (f":{url.port}" if url.port else ""), path=f"{url.path}/penstock/logs").geturl()
    extensions = {"sni_hostname": url.hostname} if url.hostname else {}
    async with httpx.AsyncClient(trust_env=False, timeout=_SECONDS) as client:
        request = client.build_request("GET", target, params={"lines": lines}, headers=headers, extensions=extensions)
        response = await client.send(request, stream=True)
        try:
            if response.status_code == 404:
                raise NotFound("The engine of this worker runs in the worker itself and keeps no log of its own.")
            response.raise_for_status()
            return await _bounded(response)
        finally:
            await response.aclose()


async def _bounded(response: httpx.Response) -> bytes:
    """Raises ValueError for what is encoded or too large."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ValueError("encoded, although asked not to be")
    content = bytearray()
    async for piece in response.aiter_raw():
        content += piece
        if len(content) > _MOST_BYTES:
            raise ValueError("larger than the tail of a log")
    return bytes(content)


def _readable(line: str) -> str:
    return "".join(each if each.isprintable() or each == "\t" else "\N{REPLACEMENT CHARACTER}" for each in line[:_LONGEST_LINE])
