"""Chat completions, completions and embeddings: requests, whole replies and streams."""
