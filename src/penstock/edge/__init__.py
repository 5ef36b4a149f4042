"""HTTP in: the inference routes, the control API, probes and metrics, and the shape of every error."""
