"""Penstock: one multi-tenant, OpenAI-compatible inference cloud from any mix of machines and engines."""

__version__ = "0.1.0"
