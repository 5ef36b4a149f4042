"""Triton over HTTP and gRPC, and text in its tensors."""
