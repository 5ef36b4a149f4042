"""How a request reaches a worker (family). Members implement `domain.ports.Transport`."""
