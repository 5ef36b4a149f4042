"""The routes of `/v1` that are not inference: files, batches, responses, models."""
