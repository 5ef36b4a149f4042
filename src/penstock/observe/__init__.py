"""Metrics and logs. How a request ended comes as one value, `domain.outcome.RequestOutcome`."""
