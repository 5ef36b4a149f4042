"""How a request reaches a worker (family). Members implement `domain.ports.Transport`."""

from penstock.compute.transport._link import WorkerLink

__all__ = ["WorkerLink"]
