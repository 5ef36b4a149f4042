"""Where the rooms meet: small Protocols, implemented outside, asked for inside, introduced to each other by `app`. One file a port."""

from penstock.domain.ports.accounts import AccountStore
from penstock.domain.ports.batches import BatchStore
from penstock.domain.ports.blobs import Blobs, BlobsFactory, BlobWriter
from penstock.domain.ports.catalog import ModelStore
from penstock.domain.ports.changes import ChangeFeed, Changes
from penstock.domain.ports.decisions import DecisionStore, RecentDecisions
from penstock.domain.ports.files import Files, FileStore, NewFile
from penstock.domain.ports.inference import Inference, InflightRequest, Reply
from penstock.domain.ports.journal import JournalSlot, UsageJournal
from penstock.domain.ports.ledger import UsageIntake, UsageLedger, UsageQuery
from penstock.domain.ports.policies import PolicyStore
from penstock.domain.ports.quotas import Quotas, QuotasFactory
from penstock.domain.ports.responses import ResponseStore
from penstock.domain.ports.store import SchemaOutdated, Store, StoreFactory, StoreLocked, StoreProblem
from penstock.domain.ports.streams import Broker, BrokerFactory, StreamRefused, StreamSink, StreamSource, StreamUnreachable
from penstock.domain.ports.tasks import Schedules, TaskControl, TaskIntake, TaskLeases, TaskStore, TaskSweep
from penstock.domain.ports.transport import ResponseSink, Transport, TransportFactory, TransportFailure, UpstreamCall
from penstock.domain.ports.workers import WorkerStore

__all__ = [
    "AccountStore",
    "BatchStore",
    "BlobWriter",
    "Blobs",
    "BlobsFactory",
    "Broker",
    "BrokerFactory",
    "ChangeFeed",
    "Changes",
    "DecisionStore",
    "FileStore",
    "Files",
    "Inference",
    "InflightRequest",
    "JournalSlot",
    "ModelStore",
    "NewFile",
    "PolicyStore",
    "Quotas",
    "QuotasFactory",
    "RecentDecisions",
    "Reply",
    "ResponseSink",
    "ResponseStore",
    "Schedules",
    "SchemaOutdated",
    "Store",
    "StoreFactory",
    "StoreLocked",
    "StoreProblem",
    "StreamRefused",
    "StreamSink",
    "StreamSource",
    "StreamUnreachable",
    "TaskControl",
    "TaskIntake",
    "TaskLeases",
    "TaskStore",
    "TaskSweep",
    "Transport",
    "TransportFactory",
    "TransportFailure",
    "UpstreamCall",
    "UsageIntake",
    "UsageJournal",
    "UsageLedger",
    "UsageQuery",
    "WorkerStore",
]
