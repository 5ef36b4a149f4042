"""What is said to those who are not served: why, and when to come back."""

from penstock.domain.errors import DeadlineExceeded, Overloaded, RateLimited

_NO_LONGER_THAN_SECONDS = 30.0


def full(wait: float) -> RateLimited:
    """`wait`: seconds until it would be served."""
    return RateLimited("The queue of this model is full.", retry_after_seconds=_retry_after(wait))


def too_late(wait: float) -> DeadlineExceeded:
    return DeadlineExceeded("The request could not be served before its deadline.", retry_after_seconds=_retry_after(wait))


def refuse_unserved(model: str) -> Overloaded:
    """No worker serves the model at this moment, although one is known that does."""
    return Overloaded(f"No worker is ready to serve '{model}' at the moment.", retry_after_seconds=2.0)


def _retry_after(wait: float) -> float:
    return min(max(wait, 1.0), _NO_LONGER_THAN_SECONDS)
