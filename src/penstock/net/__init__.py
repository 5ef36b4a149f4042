"""Bytes on the wire: the keep-alive HTTP client. No policy."""
