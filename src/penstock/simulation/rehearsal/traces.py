"""Traffic that was recorded: a production trace (CSV), or this installation's own usage (its ledger, exported)."""

import csv
import json
from collections.abc import Iterable, Iterator
from datetime import datetime

from penstock.domain.principal import ServiceClass
from penstock.simulation.rehearsal.traffic import PlannedRequest, Shape, at_most

_AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


class UnreadableTrace(ValueError):
    """The message names the line and what is wrong with it."""


def azure(lines: Iterable[str]) -> list[PlannedRequest]:
    """Azure's LLM inference trace 2023 (Patel et al., "Splitwise", ISCA 2024): a moment, tokens of the prompt, tokens of the answer.

    Raises UnreadableTrace.
    """
    rows = csv.DictReader(lines)
    if tuple(rows.fieldnames or ()) != _AZURE:
        raise UnreadableTrace(f"line 1: expected {','.join(_AZURE)}")
    found: list[tuple[float, Shape]] = []
    for number, row in enumerate(rows, 2):
        try:
            # Seven digits of a second: one more than Python reads.
            moment = datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp()
            found.append((moment, Shape(int(row["ContextTokens"]), max(int(row["GeneratedTokens"]), 1))))
        except (TypeError, ValueError) as error:
            raise UnreadableTrace(f"line {number}: {error}") from None
    found.sort()
    return [PlannedRequest(at - found[0][0], shape.prompt_tokens, shape.output_tokens, at_most(shape.output_tokens)) for at, shape in found]


def usage_log(lines: Iterable[str]) -> list[PlannedRequest]:
    """One record of the ledger a line (`GET /api/usage/records`, or `penstock simulate --from-api`), as JSON.

    Read are `started_at` (Unix seconds), `prompt_tokens`, `completion_tokens`, `org_id`, `service_class` and `service_tier`; what was
    refused used nothing and is not in the ledger, so a replay knows only the requests that were served.
    """
    found = sorted(_records(lines), key=lambda pair: pair[0])
    start = found[0][0] if found else 0.0
    return [ask._replace(at=started - start) for started, ask in found]


def _records(lines: Iterable[str]) -> Iterator[tuple[float, PlannedRequest]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            output = max(int(record["completion_tokens"]), 1)
            tier = record.get("service_tier") or None
            yield (
                float(record["started_at"]),
                PlannedRequest(
                    0.0,
                    max(int(record["prompt_tokens"]), 1),
                    output,
                    at_most(output),
                    ServiceClass[str(record["service_class"]).upper()],
                    str(record["org_id"]),
                    tier=None if tier == "default" else tier,
                ),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableTrace(f"line {number}: {error!r}") from None


def part(given: list[PlannedRequest], seconds: float) -> list[PlannedRequest]:
    """The first so many seconds of it."""
    return [ask for ask in given if ask.at < seconds]
