"""The ledger's hot statement, as text: records in, sums of the hour up, in the database and not row by row in Python."""

from typing import Any

from penstock.domain.usage import UsageRecord

COLUMNS = UsageRecord.__struct_fields__
HOUR_KEY = ("org_id", "hour", "key_id", "model", "service_tier", "service_class")
SUMS = ("requests", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "estimated_requests", "cost_micros")

_MADE = {"requests": "count(*)", "estimated_requests": "sum(CASE WHEN estimated THEN 1 ELSE 0 END)"}


def row(record: UsageRecord) -> tuple[Any, ...]:
    """A record's values in the order of `COLUMNS`, as plain types: SQLite's driver is slow with subclasses of str and int."""
    return (
        record.request_id,
        record.org_id,
        record.key_id,
        record.model,
        record.operation,
        record.service_tier,
        record.service_class,
        record.worker_id,
        record.outcome.value,
        record.prompt_tokens,
        record.completion_tokens,
        record.cached_tokens,
        record.reasoning_tokens,
        record.estimated,
        record.cost_micros,
        record.started_at,
        record.finished_at,
        record.ttft_ms,
        record.queue_ms,
        record.retries,
        record.status,
        record.client_request_id,
    )


def addition(source: str, hour: str) -> str:
    """INSERT that adds the records of `source` (a table, perhaps with WHERE) to the sums; `hour` computes a record's hour.

    In the order of the key: two gateways that add to the same hours lock the rows in the same order.
    """
    key = ", ".join(HOUR_KEY)
    selected = [hour if name == "hour" else name for name in HOUR_KEY] + [_MADE.get(name, f"sum({name})") for name in SUMS]
    added = ", ".join(f"{name} = usage_hour.{name} + excluded.{name}" for name in SUMS)
    places = ", ".join(str(place + 1) for place in range(len(HOUR_KEY)))
    return (  # all of it names of our own columns
        f"INSERT INTO usage_hour ({key}, {', '.join(SUMS)}) SELECT {', '.join(selected)} FROM {source} "  # noqa: S608
        f"GROUP BY {places} ORDER BY {places} ON CONFLICT ({key}) DO UPDATE SET {added}"
    )
