"""A batch's input file, line by line: never as a whole in memory."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from penstock.domain.durable.batches import MOST_INPUTS, MOST_LINES, LineFault
from penstock.domain.text import storable
from penstock.wire import batch_lines
from penstock.wire.batch_lines import LARGEST_LINE_BYTES, RequestLine

MOST_FAULTS = 100
"""Reported of one file; who has more will look again."""
_EMBEDDINGS = "/v1/embeddings"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class InputReport:
    """What a file is. With faults it is not a batch."""

    total: int
    faults: tuple[LineFault, ...]
    model: str | None
    """That of every line; None: they differ."""


async def requests(content: AsyncIterator[bytes], endpoint: str) -> AsyncIterator[tuple[int, RequestLine | LineFault]]:
    """Line numbers, from 1, with what they say; blank lines are left out."""
    async for number, text in _lines(content):
        if len(text) > LARGEST_LINE_BYTES:
            yield number, LineFault("line_too_large", f"A line has at most {LARGEST_LINE_BYTES} bytes.", number)
        elif text.strip():
            yield number, batch_lines.read_line(text, number, endpoint)


async def _lines(content: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """Of a line that is too large its beginning, once."""
    rest, number = b"", 0
    async for piece in content:
        *whole, rest = (rest + piece).split(b"\n")
        for text in whole:
            number += 1
            yield number, text.removeprefix(_BOM) if number == 1 else text
        if len(rest) > 2 * LARGEST_LINE_BYTES:
            rest = rest[: LARGEST_LINE_BYTES + 1]
    if rest:
        number += 1
        yield number, rest.removeprefix(_BOM) if number == 1 else rest


async def validate(content: AsyncIterator[bytes], endpoint: str) -> InputReport:
    """Read the whole file once, before any of it is run."""
    faults: list[LineFault] = []
    seen: set[str] = set()
    models: set[str | None] = set()
    total, inputs = 0, 0
    async for number, line in requests(content, endpoint):
        total += 1
        if len(faults) >= MOST_FAULTS or total > MOST_LINES:
            break
        if isinstance(line, LineFault):
            faults.append(line)
            continue
        if line.custom_id in seen:
            faults.append(LineFault("duplicate_custom_id", f"The custom_id '{line.custom_id}' came before.", number, "custom_id"))
        seen.add(line.custom_id)
        body = batch_lines.asked(line)
        models.add(None if body.model is None else storable(body.model))
        if endpoint == _EMBEDDINGS:
            inputs += len(body.input) if isinstance(body.input, list) else 1
    faults += _faults_of_file(total, inputs)
    model = models.pop() if len(models) == 1 else None
    return InputReport(total, tuple(faults), model)


def _faults_of_file(total: int, inputs: int) -> list[LineFault]:
    if not total:
        return [LineFault("empty_file", "The file has no requests.")]
    if total > MOST_LINES:
        return [LineFault("too_many_lines", f"A batch has at most {MOST_LINES} requests.")]
    if inputs > MOST_INPUTS:
        return [LineFault("too_many_inputs", f"A batch of embeddings has at most {MOST_INPUTS} inputs in all its requests.")]
    return []
