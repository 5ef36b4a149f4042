"""The store's area `policies`: its tables and its statements."""
