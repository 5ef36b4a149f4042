"""Measures the gateway beside other gateways; how and why is in docs/explanation/benchmarks.md."""
