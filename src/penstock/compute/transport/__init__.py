"""How a request reaches a worker (family). Members implement `domain.ports.Transport`."""

from penstock.base.family import Family
from penstock.compute.transport._link import WorkerLink
from penstock.domain.ports import TransportFactory

TRANSPORTS: Family[TransportFactory] = Family(__name__)

__all__ = ["TRANSPORTS", "WorkerLink"]
