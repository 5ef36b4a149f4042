"""Tasks: what waits, runs and is over, its dependencies, runners, queues, schedules, minutes and words."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

revision = "0003"
down_revision = "0002"

NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
ROW = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _tasks()
    _waiting_and_running()
    _around_them()
    _minutes()
    _words()


def _index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    op.create_index(name, table, columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _tasks() -> None:
    op.create_table(
        "task",
        sa.Column("number", ROW, autoincrement=False, nullable=False),
        sa.Column("org_id", NAME, nullable=False),
        sa.Column("key_id", NAME, nullable=False),
        sa.Column("queue", NAME, nullable=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("payload_hash", sa.Text(), nullable=False),
        sa.Column("idempotency_key", NAME),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("dag", sa.BigInteger()),
        sa.Column("status", NAME, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("run_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.Column("expires_at", sa.Double()),
        sa.Column("keep_seconds", sa.Double()),
        sa.Column("delete_at", sa.Double()),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_seq", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("timeout_seconds", sa.Double()),
        sa.Column("backoff_seconds", sa.Double(), nullable=False),
        sa.Column("backoff_cap_seconds", sa.Double(), nullable=False),
        sa.Column("runner_id", NAME, nullable=False),
        sa.Column("pending_parents", sa.Integer(), nullable=False),
        sa.Column("parents", sa.Integer(), nullable=False),
        sa.Column("has_children", sa.SmallInteger(), nullable=False),
        sa.Column("result", sa.Text()),
        sa.Column("error_code", NAME),
        sa.Column("error_message", sa.Text()),
        sa.Column("traceparent", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    _index("task_blocked", "task", ["expires_at"], "status = 'blocked' AND expires_at IS NOT NULL")
    _index("task_dag", "task", ["dag", "number"], "dag IS NOT NULL")
    _index("task_delete", "task", ["delete_at"], "delete_at IS NOT NULL")
    _index("task_finished", "task", ["org_id", "finished_at", "number"], "finished_at IS NOT NULL")
    _index("task_key", "task", ["org_id", "idempotency_key"], "idempotency_key IS NOT NULL", unique=True)
    op.create_index("task_org", "task", ["org_id", "number"])
    _index("task_unusual", "task", ["org_id", "number"], "status NOT IN ('hot', 'succeeded')")


def _waiting_and_running() -> None:
    op.create_table(
        "task_attempt",
        sa.Column("task", sa.BigInteger(), nullable=False),
        sa.Column("lease_seq", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("runner_id", NAME, nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=False),
        sa.Column("outcome", NAME, nullable=False),
        sa.Column("error_code", NAME),
        sa.Column("error_message", sa.Text()),
        sa.PrimaryKeyConstraint("task", "lease_seq"),
    )
    op.create_table(
        "task_hot",
        sa.Column("task", ROW, autoincrement=False, nullable=False),
        sa.Column("org_id", NAME, nullable=False),
        sa.Column("queue", NAME, nullable=False),
        sa.Column("ability", NAME, nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("sort_key", sa.BigInteger(), nullable=False),
        sa.Column("head_start_seconds", sa.Double(), nullable=False),
        sa.Column("ready_at", sa.Double(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_seq", sa.Integer(), nullable=False),
        sa.Column("runner_id", NAME, nullable=False),
        sa.Column("started_at", sa.Double()),
        sa.Column("timeout_seconds", sa.Double()),
        sa.Column("expires_at", sa.Double()),
        sa.Column("cancel", sa.SmallInteger(), nullable=False),
        sa.Column("progress", sa.Text()),
        sa.PrimaryKeyConstraint("task"),
    )
    _index("task_hot_due", "task_hot", ["ready_at"], "state = 0")
    _index("task_hot_expires", "task_hot", ["expires_at"], "state < 2 AND expires_at IS NOT NULL")
    _index("task_hot_held", "task_hot", ["runner_id"], "state = 2")
    _index("task_hot_ready", "task_hot", ["org_id", "queue", "ability", "sort_key", "task"], "state = 1")


def _around_them() -> None:
    op.create_table(
        "runner",
        sa.Column("id", NAME, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("org_id", NAME),
        sa.Column("queues", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("kinds", sa.Text(), nullable=False),
        sa.Column("functions", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("joined_at", sa.Double(), nullable=False),
        sa.Column("last_beat_at", sa.Double(), nullable=False),
        sa.Column("draining", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "schedule",
        sa.Column("id", NAME, nullable=False),
        sa.Column("org_id", NAME, nullable=False),
        sa.Column("key_id", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("missed", NAME, nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("next_at", sa.Double()),
        sa.Column("last_at", sa.Double()),
        sa.Column("paused", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("org_id", "name"),
    )
    _index("schedule_due", "schedule", ["next_at"], "next_at IS NOT NULL")
    op.create_table(
        "task_dep",
        sa.Column("parent", sa.BigInteger(), nullable=False),
        sa.Column("child", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("on_failure", NAME, nullable=False),
        sa.Column("settled", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("parent", "child"),
    )
    op.create_index("task_dep_child", "task_dep", ["child", "place"])
    op.create_table(
        "task_queue",
        sa.Column("org_id", NAME, nullable=False),
        sa.Column("queue", NAME, nullable=False),
        sa.Column("paused", sa.SmallInteger(), nullable=False),
        sa.Column("max_running", sa.Integer()),
        sa.Column("rate_per_second", sa.Double()),
        sa.Column("next_start_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "queue"),
    )


def _minutes() -> None:
    op.create_table(
        "task_minute",
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("org_id", NAME, nullable=False),
        sa.Column("queue", NAME, nullable=False),
        sa.Column("stats", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("minute", "org_id", "queue"),
    )
    op.create_table(
        "task_minute_note",
        sa.Column("id", ROW, nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("org_id", NAME, nullable=False),
        sa.Column("queue", NAME, nullable=False),
        sa.Column("stats", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _words() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("CREATE VIRTUAL TABLE task_search USING fts5(org, document, tokenize = 'unicode61 remove_diacritics 0')")
        return
    op.execute(
        "ALTER TABLE task_hot SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, "
        "autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0)"
    )
    op.create_table(
        "task_search",
        sa.Column("task", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("document", TSVECTOR(), nullable=False),
        sa.PrimaryKeyConstraint("task"),
    )
    op.create_index("task_search_document", "task_search", ["document"], postgresql_using="gin")
