"""When a request goes to a worker: one bounded queue per model."""
