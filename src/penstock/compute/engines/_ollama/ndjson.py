"""Lines of JSON from a byte stream: what native APIs stream instead of events."""

from collections.abc import AsyncGenerator, AsyncIterable

from penstock.domain.errors import UpstreamFailed

LONGEST_LINE_BYTES = 1 << 20


async def lines(chunks: AsyncIterable[bytes]) -> AsyncGenerator[list[bytes], None]:
    """The complete lines that came together, however the bytes were cut; a last one needs no end. Raises UpstreamFailed."""
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > LONGEST_LINE_BYTES:
            raise UpstreamFailed(f"The engine sent a line of more than {LONGEST_LINE_BYTES} bytes.")
        if found := [line for line in map(bytes.strip, whole) if line]:
            yield found
    if rest := rest.strip():
        yield [rest]
