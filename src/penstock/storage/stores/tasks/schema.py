"""The tables of tasks; the same on both databases but for the index of words.

A task is one wide row, `task`, written when it is submitted and when it is over. Everything that happens in between happens to a
narrow one, `task_hot`, which there is only for tasks that wait or run: so claiming stays as fast beside a million finished tasks as
beside none. `task_attempt` holds the attempts before the last one; most tasks have no row there.

Truth values are numbers, and lists JSON texts, because rows are written by statements of our own that look alike on both databases.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR

from penstock.storage.stores.sql.tables import NAME, NUMBER, metadata

# What SQLite calls INTEGER PRIMARY KEY is the row's own number, and costs no index.
_ROW = BigInteger().with_variant(Integer(), "sqlite")
_FLAG = SmallInteger()


def _where(name: str, condition: str, *columns: str, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, sqlite_where=text(condition), postgresql_where=text(condition))


task = Table(
    "task",
    metadata,
    Column("number", _ROW, primary_key=True, autoincrement=False),  # its id: domain/ids.py
    Column("org_id", NAME, nullable=False),
    Column("key_id", NAME, nullable=False),
    Column("queue", NAME, nullable=False),
    Column("kind", NAME, nullable=False),
    Column("name", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("payload", Text, nullable=False),
    Column("payload_hash", Text, nullable=False),
    Column("idempotency_key", NAME),
    Column("tags", Text, nullable=False),
    Column("dag", NUMBER),
    Column("status", NAME, nullable=False),  # `hot`: the row in task_hot says more
    Column("created_at", Double, nullable=False),
    Column("run_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("expires_at", Double),
    Column("keep_seconds", Double),
    Column("delete_at", Double),
    Column("attempt", Integer, nullable=False),
    Column("lease_seq", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("timeout_seconds", Double),
    Column("backoff_seconds", Double, nullable=False),
    Column("backoff_cap_seconds", Double, nullable=False),
    Column("runner_id", NAME, nullable=False),
    Column("pending_parents", Integer, nullable=False),
    Column("parents", Integer, nullable=False),
    Column("has_children", _FLAG, nullable=False),
    Column("result", Text),
    Column("error_code", NAME),
    Column("error_message", Text),
    Column("traceparent", Text, nullable=False),
    Column("concurrency_key", NAME),
    Column("max_per_key", Integer),
    Column("unique_key", NAME),
    Index("task_org", "org_id", "number"),
    _where("task_key", "idempotency_key IS NOT NULL", "org_id", "idempotency_key", unique=True),
    _where("task_unique", "unique_key IS NOT NULL AND finished_at IS NULL", "org_id", "unique_key", unique=True),
    _where("task_finished", "finished_at IS NOT NULL", "org_id", "finished_at", "number"),
    _where("task_unusual", "status NOT IN ('hot', 'succeeded')", "org_id", "number"),
    _where("task_delete", "delete_at IS NOT NULL", "delete_at"),
    _where("task_dag", "dag IS NOT NULL", "dag", "number"),
    _where("task_blocked", "status = 'blocked' AND expires_at IS NOT NULL", "expires_at"),
)

task_hot = Table(
    "task_hot",
    metadata,
    Column("task", _ROW, primary_key=True, autoincrement=False),
    Column("org_id", NAME, nullable=False),
    Column("queue", NAME, nullable=False),
    Column("ability", NAME, nullable=False),  # what a runner must be able to do for it
    Column("state", _FLAG, nullable=False),  # 0 scheduled, 1 ready, 2 running, -1 waits for others of its concurrency key
    Column("sort_key", NUMBER, nullable=False),
    Column("head_start_seconds", Double, nullable=False),
    Column("ready_at", Double, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("lease_seq", Integer, nullable=False),
    Column("runner_id", NAME, nullable=False),
    Column("started_at", Double),
    Column("timeout_seconds", Double),
    Column("expires_at", Double),
    Column("cancel", _FLAG, nullable=False),
    Column("progress", Text),
    Column("losses", _FLAG, nullable=False, server_default=text("0")),  # gateways that began to put results into it and never ended
    Column("concurrency_key", NAME),
    Column("max_per_key", Integer),
    _where("task_hot_key", "concurrency_key IS NOT NULL", "org_id", "concurrency_key", "state", "sort_key", "task"),
    _where("task_hot_ready", "state = 1", "org_id", "queue", "ability", "sort_key", "task"),
    _where("task_hot_due", "state = 0", "ready_at"),
    _where("task_hot_held", "state = 2", "runner_id"),
    _where("task_hot_expires", "state < 2 AND expires_at IS NOT NULL", "expires_at"),
)

task_dep = Table(
    "task_dep",
    metadata,
    Column("parent", NUMBER, nullable=False),
    Column("child", NUMBER, nullable=False),
    Column("place", Integer, nullable=False),  # the child's parents in the order in which it named them
    Column("on_failure", NAME, nullable=False),
    Column("settled", _FLAG, nullable=False),  # the parent has ended once: it may run again, but not count again
    PrimaryKeyConstraint("parent", "child"),
    Index("task_dep_child", "child", "place"),
)

task_attempt = Table(
    "task_attempt",
    metadata,
    Column("task", NUMBER, nullable=False),
    Column("lease_seq", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("runner_id", NAME, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("finished_at", Double, nullable=False),
    Column("outcome", NAME, nullable=False),
    Column("error_code", NAME),
    Column("error_message", Text),
    PrimaryKeyConstraint("task", "lease_seq"),
)

# What functions printed, for the last attempts of a task.
task_log = Table(
    "task_log",
    metadata,
    Column("task", NUMBER, nullable=False),
    Column("lease_seq", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("runner_id", NAME, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("text", Text, nullable=False),
    Column("left_out_bytes", NUMBER, nullable=False),
    PrimaryKeyConstraint("task", "lease_seq"),
)

task_queue = Table(
    "task_queue",
    metadata,
    Column("org_id", NAME, nullable=False),
    Column("queue", NAME, nullable=False),
    Column("paused", _FLAG, nullable=False),
    Column("max_running", Integer),
    Column("rate_per_second", Double),
    Column("next_start_at", Double, nullable=False),  # of the rate: the time until which its starts are spent (GCRA)
    PrimaryKeyConstraint("org_id", "queue"),
)

runner = Table(
    "runner",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("name", Text, nullable=False),
    Column("org_id", NAME),
    Column("queues", Text, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("kinds", Text, nullable=False),
    Column("functions", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("identity", Text, nullable=False),
    Column("joined_at", Double, nullable=False),
    Column("last_beat_at", Double, nullable=False),
    Column("draining", _FLAG, nullable=False),
    Column("token_id", NAME, nullable=False, server_default=""),  # of the join token that introduced it
)

schedule = Table(
    "schedule",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("org_id", NAME, nullable=False),
    Column("key_id", NAME, nullable=False),
    Column("name", NAME, nullable=False),
    Column("cron", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("missed", NAME, nullable=False),
    Column("task", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("next_at", Double),
    Column("last_at", Double),
    Column("paused", _FLAG, nullable=False),
    UniqueConstraint("org_id", "name"),
    _where("schedule_due", "next_at IS NOT NULL", "next_at"),
)

task_minute = Table(
    "task_minute",
    metadata,
    Column("minute", NUMBER, nullable=False),
    Column("org_id", NAME, nullable=False),
    Column("queue", NAME, nullable=False),
    Column("stats", Text, nullable=False),
    PrimaryKeyConstraint("minute", "org_id", "queue"),
)

# What one transaction ended, until it is added to its minute: transactions that end tasks do not wait for each other's row.
task_minute_note = Table(
    "task_minute_note",
    metadata,
    Column("id", _ROW, primary_key=True),
    Column("minute", NUMBER, nullable=False),
    Column("org_id", NAME, nullable=False),
    Column("queue", NAME, nullable=False),
    Column("stats", Text, nullable=False),
)

task_search = Table(
    "task_search",
    metadata,
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("document", TSVECTOR, nullable=False),
    Index("task_search_document", "document", postgresql_using="gin"),
    info={"only_on": "postgresql"},
)

# Rows of task_hot live for a moment and change twice: room for the changes on the same page, and cleaned up early and often.
_HOT_STORAGE = (
    "ALTER TABLE task_hot SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, "
    "autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0)"
)
# Words come normalised (storage/stores/tasks/words.py): what is left to do is to split them at spaces.
_WORDS = "CREATE VIRTUAL TABLE task_search USING fts5(org, document, tokenize = 'unicode61 remove_diacritics 0')"

BESIDE = {"postgresql": (_HOT_STORAGE,), "sqlite": (_WORDS,)}
"""What a description of tables cannot say."""
