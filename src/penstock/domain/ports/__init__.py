"""Where the rooms meet: small Protocols, implemented outside, asked for inside, introduced to each other by `app`."""

from penstock.domain.ports.data_plane import (
    Exchange,
    Flight,
    Inference,
    JournalSlot,
    Reply,
    ResponseSink,
    Transport,
    TransportFailure,
    UsageJournal,
)
from penstock.domain.ports.durable import (
    Accounts,
    Catalogue,
    ChangeFeed,
    Changes,
    Ledger,
    SchemaOutdated,
    Store,
    StoreLocked,
    StoreProblem,
    UsageIntake,
    UsageQuery,
    WorkerRegistry,
)
from penstock.domain.ports.policy import PolicyArchive
from penstock.domain.ports.shared import (
    Bucket,
    Quotas,
)
from penstock.domain.ports.tasks import (
    Schedules,
    TaskControl,
    TaskIntake,
    TaskLeases,
    TaskStore,
    TaskSweep,
)

__all__ = [
    "Accounts",
    "Bucket",
    "Catalogue",
    "ChangeFeed",
    "Changes",
    "Exchange",
    "Flight",
    "Inference",
    "JournalSlot",
    "Ledger",
    "PolicyArchive",
    "Quotas",
    "Reply",
    "ResponseSink",
    "Schedules",
    "SchemaOutdated",
    "Store",
    "StoreLocked",
    "StoreProblem",
    "TaskControl",
    "TaskIntake",
    "TaskLeases",
    "TaskStore",
    "TaskSweep",
    "Transport",
    "TransportFailure",
    "UsageIntake",
    "UsageJournal",
    "UsageQuery",
    "WorkerRegistry",
]
